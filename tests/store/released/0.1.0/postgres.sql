SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    digest text NOT NULL,
    tenant text NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    scopes text NOT NULL
);

COMMENT ON COLUMN public.api_keys.scopes IS 'Separated by spaces.';

CREATE TABLE public.attempts (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration double precision NOT NULL,
    status integer,
    request text NOT NULL,
    error text,
    answer text
)
PARTITION BY RANGE (delivery_id);

COMMENT ON COLUMN public.attempts.duration IS 'Seconds.';

CREATE TABLE public.attempts_20261127 (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration double precision NOT NULL,
    status integer,
    request text NOT NULL,
    error text,
    answer text
);

COMMENT ON COLUMN public.attempts_20261127.duration IS 'Seconds.';

CREATE TABLE public.attempts_20261204 (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration double precision NOT NULL,
    status integer,
    request text NOT NULL,
    error text,
    answer text
);

COMMENT ON COLUMN public.attempts_20261204.duration IS 'Seconds.';

CREATE TABLE public.attempts_20261211 (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration double precision NOT NULL,
    status integer,
    request text NOT NULL,
    error text,
    answer text
);

COMMENT ON COLUMN public.attempts_20261211.duration IS 'Seconds.';

CREATE TABLE public.attempts_20261218 (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration double precision NOT NULL,
    status integer,
    request text NOT NULL,
    error text,
    answer text
);

COMMENT ON COLUMN public.attempts_20261218.duration IS 'Seconds.';

CREATE TABLE public.attempts_oldest (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration double precision NOT NULL,
    status integer,
    request text NOT NULL,
    error text,
    answer text
);

COMMENT ON COLUMN public.attempts_oldest.duration IS 'Seconds.';

CREATE TABLE public.claims (
    delivery_id uuid NOT NULL,
    process integer NOT NULL
);

COMMENT ON TABLE public.claims IS 'What processes have claimed of that which waited; see oldest_claim for the others.';

CREATE TABLE public.deliveries (
    id uuid NOT NULL,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    due_at timestamp with time zone,
    ended_at timestamp with time zone,
    since timestamp with time zone,
    claimed_by integer,
    attempts integer DEFAULT 0 NOT NULL,
    restarted_after integer DEFAULT 0 NOT NULL,
    state smallint NOT NULL,
    listed_as smallint,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    destination text NOT NULL,
    reason text
)
PARTITION BY RANGE (id);

COMMENT ON COLUMN public.deliveries.due_at IS 'Null while it is held, has ended, or goes straight.';

COMMENT ON COLUMN public.deliveries.since IS 'When somebody sent it again, with restarted_after.';

COMMENT ON COLUMN public.deliveries.claimed_by IS 'The process that is delivering it.';

COMMENT ON COLUMN public.deliveries.listed_as IS 'The state; null on the way straight from acceptance to delivered.';

CREATE TABLE public.deliveries_20261127 (
    id uuid NOT NULL,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    due_at timestamp with time zone,
    ended_at timestamp with time zone,
    since timestamp with time zone,
    claimed_by integer,
    attempts integer DEFAULT 0 NOT NULL,
    restarted_after integer DEFAULT 0 NOT NULL,
    state smallint NOT NULL,
    listed_as smallint,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    destination text NOT NULL,
    reason text
)
WITH (fillfactor='50');

COMMENT ON COLUMN public.deliveries_20261127.due_at IS 'Null while it is held, has ended, or goes straight.';

COMMENT ON COLUMN public.deliveries_20261127.since IS 'When somebody sent it again, with restarted_after.';

COMMENT ON COLUMN public.deliveries_20261127.claimed_by IS 'The process that is delivering it.';

COMMENT ON COLUMN public.deliveries_20261127.listed_as IS 'The state; null on the way straight from acceptance to delivered.';

CREATE TABLE public.deliveries_20261204 (
    id uuid NOT NULL,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    due_at timestamp with time zone,
    ended_at timestamp with time zone,
    since timestamp with time zone,
    claimed_by integer,
    attempts integer DEFAULT 0 NOT NULL,
    restarted_after integer DEFAULT 0 NOT NULL,
    state smallint NOT NULL,
    listed_as smallint,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    destination text NOT NULL,
    reason text
)
WITH (fillfactor='50');

COMMENT ON COLUMN public.deliveries_20261204.due_at IS 'Null while it is held, has ended, or goes straight.';

COMMENT ON COLUMN public.deliveries_20261204.since IS 'When somebody sent it again, with restarted_after.';

COMMENT ON COLUMN public.deliveries_20261204.claimed_by IS 'The process that is delivering it.';

COMMENT ON COLUMN public.deliveries_20261204.listed_as IS 'The state; null on the way straight from acceptance to delivered.';

CREATE TABLE public.deliveries_20261211 (
    id uuid NOT NULL,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    due_at timestamp with time zone,
    ended_at timestamp with time zone,
    since timestamp with time zone,
    claimed_by integer,
    attempts integer DEFAULT 0 NOT NULL,
    restarted_after integer DEFAULT 0 NOT NULL,
    state smallint NOT NULL,
    listed_as smallint,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    destination text NOT NULL,
    reason text
)
WITH (fillfactor='50');

COMMENT ON COLUMN public.deliveries_20261211.due_at IS 'Null while it is held, has ended, or goes straight.';

COMMENT ON COLUMN public.deliveries_20261211.since IS 'When somebody sent it again, with restarted_after.';

COMMENT ON COLUMN public.deliveries_20261211.claimed_by IS 'The process that is delivering it.';

COMMENT ON COLUMN public.deliveries_20261211.listed_as IS 'The state; null on the way straight from acceptance to delivered.';

CREATE TABLE public.deliveries_20261218 (
    id uuid NOT NULL,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    due_at timestamp with time zone,
    ended_at timestamp with time zone,
    since timestamp with time zone,
    claimed_by integer,
    attempts integer DEFAULT 0 NOT NULL,
    restarted_after integer DEFAULT 0 NOT NULL,
    state smallint NOT NULL,
    listed_as smallint,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    destination text NOT NULL,
    reason text
)
WITH (fillfactor='50');

COMMENT ON COLUMN public.deliveries_20261218.due_at IS 'Null while it is held, has ended, or goes straight.';

COMMENT ON COLUMN public.deliveries_20261218.since IS 'When somebody sent it again, with restarted_after.';

COMMENT ON COLUMN public.deliveries_20261218.claimed_by IS 'The process that is delivering it.';

COMMENT ON COLUMN public.deliveries_20261218.listed_as IS 'The state; null on the way straight from acceptance to delivered.';

CREATE TABLE public.deliveries_oldest (
    id uuid NOT NULL,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    due_at timestamp with time zone,
    ended_at timestamp with time zone,
    since timestamp with time zone,
    claimed_by integer,
    attempts integer DEFAULT 0 NOT NULL,
    restarted_after integer DEFAULT 0 NOT NULL,
    state smallint NOT NULL,
    listed_as smallint,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    destination text NOT NULL,
    reason text
)
WITH (fillfactor='50');

COMMENT ON COLUMN public.deliveries_oldest.due_at IS 'Null while it is held, has ended, or goes straight.';

COMMENT ON COLUMN public.deliveries_oldest.since IS 'When somebody sent it again, with restarted_after.';

COMMENT ON COLUMN public.deliveries_oldest.claimed_by IS 'The process that is delivering it.';

COMMENT ON COLUMN public.deliveries_oldest.listed_as IS 'The state; null on the way straight from acceptance to delivered.';

CREATE TABLE public.destinations (
    key text NOT NULL,
    open_until timestamp with time zone,
    opened_at timestamp with time zone,
    paused_at timestamp with time zone,
    per_second double precision,
    burst integer,
    openings integer DEFAULT 0 NOT NULL,
    reason text,
    paused_reason text
);

COMMENT ON COLUMN public.destinations.open_until IS 'Null while the breaker is closed.';

CREATE TABLE public.digest_members (
    delivery_id uuid NOT NULL,
    leader uuid NOT NULL,
    subscription_id uuid NOT NULL
);

COMMENT ON TABLE public.digest_members IS 'Deliveries that wait for the leader of their digest, and end as it ends.';

CREATE TABLE public.digests (
    id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    leader uuid,
    due_at timestamp with time zone,
    sent_at timestamp with time zone,
    members integer NOT NULL,
    bytes integer NOT NULL
);

COMMENT ON COLUMN public.digests.id IS 'Of the subscription and the values that it groups by.';

COMMENT ON COLUMN public.digests.leader IS 'The first delivery of the digest that gathers now.';

COMMENT ON COLUMN public.digests.due_at IS 'When that goes.';

COMMENT ON COLUMN public.digests.sent_at IS 'When the last one went.';

CREATE TABLE public.events (
    key uuid NOT NULL,
    "time" timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    job_id text NOT NULL,
    owner text,
    job_owner text,
    document bytea NOT NULL
)
PARTITION BY RANGE (key);

COMMENT ON COLUMN public.events.job_owner IS 'The event''s owner, or else the job''s as far as it was known then.';

CREATE TABLE public.events_20261127 (
    key uuid NOT NULL,
    "time" timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    job_id text NOT NULL,
    owner text,
    job_owner text,
    document bytea NOT NULL
);

COMMENT ON COLUMN public.events_20261127.job_owner IS 'The event''s owner, or else the job''s as far as it was known then.';

CREATE TABLE public.events_20261204 (
    key uuid NOT NULL,
    "time" timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    job_id text NOT NULL,
    owner text,
    job_owner text,
    document bytea NOT NULL
);

COMMENT ON COLUMN public.events_20261204.job_owner IS 'The event''s owner, or else the job''s as far as it was known then.';

CREATE TABLE public.events_20261211 (
    key uuid NOT NULL,
    "time" timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    job_id text NOT NULL,
    owner text,
    job_owner text,
    document bytea NOT NULL
);

COMMENT ON COLUMN public.events_20261211.job_owner IS 'The event''s owner, or else the job''s as far as it was known then.';

CREATE TABLE public.events_20261218 (
    key uuid NOT NULL,
    "time" timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    job_id text NOT NULL,
    owner text,
    job_owner text,
    document bytea NOT NULL
);

COMMENT ON COLUMN public.events_20261218.job_owner IS 'The event''s owner, or else the job''s as far as it was known then.';

CREATE TABLE public.events_oldest (
    key uuid NOT NULL,
    "time" timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    tenant text NOT NULL,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    job_id text NOT NULL,
    owner text,
    job_owner text,
    document bytea NOT NULL
);

COMMENT ON COLUMN public.events_oldest.job_owner IS 'The event''s owner, or else the job''s as far as it was known then.';

CREATE TABLE public.identities (
    digest uuid NOT NULL,
    event_key uuid NOT NULL
);

COMMENT ON TABLE public.identities IS 'Which events are there: duplicates are found here.';

CREATE TABLE public.jobs (
    tenant text NOT NULL,
    id text NOT NULL,
    first_event uuid NOT NULL,
    last_event uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    status_at timestamp with time zone,
    submitted_at timestamp with time zone,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    events integer NOT NULL,
    owner text,
    status text,
    message text,
    name text,
    app_id text,
    system text
)
WITH (fillfactor='70');

CREATE TABLE public.mail_consents (
    tenant text NOT NULL,
    subscriber text NOT NULL,
    address text NOT NULL,
    asked_at timestamp with time zone,
    asking_until timestamp with time zone,
    confirmed_at timestamp with time zone,
    refused_at timestamp with time zone,
    refusal text
);

COMMENT ON TABLE public.mail_consents IS 'Which addresses want the mails of whose subscriptions, and which can have none.';

COMMENT ON COLUMN public.mail_consents.asked_at IS 'When it was asked to confirm.';

COMMENT ON COLUMN public.mail_consents.asking_until IS 'Until when somebody is about to ask.';

COMMENT ON COLUMN public.mail_consents.refused_at IS 'When the relay refused it for good.';

CREATE TABLE public.mail_counts (
    name text NOT NULL,
    began timestamp with time zone NOT NULL,
    count integer NOT NULL
);

COMMENT ON TABLE public.mail_counts IS 'How many mails of a kind there were in a period.';

CREATE TABLE public.mail_unsubscribed (
    subscription_id uuid NOT NULL,
    address text NOT NULL,
    at timestamp with time zone NOT NULL
);

CREATE TABLE public.memos (
    delivery_id uuid NOT NULL,
    memo text NOT NULL
);

COMMENT ON TABLE public.memos IS 'What target kinds noted for the next attempt.';

CREATE TABLE public.permissions (
    tenant text NOT NULL,
    job_id text NOT NULL,
    username text NOT NULL,
    granted boolean NOT NULL,
    at timestamp with time zone NOT NULL
);

CREATE TABLE public.processes (
    id integer NOT NULL,
    pid integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    oldest_claim uuid NOT NULL,
    host text NOT NULL
);

COMMENT ON COLUMN public.processes.oldest_claim IS 'No delivery below it was claimed on acceptance.';

CREATE SEQUENCE public.processes_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.processes_id_seq OWNED BY public.processes.id;

CREATE TABLE public.rates (
    key text NOT NULL,
    full_at double precision NOT NULL
);

COMMENT ON COLUMN public.rates.key IS 'A subscription''s id or a destination.';

COMMENT ON COLUMN public.rates.full_at IS 'When what was granted is paid for; seconds since 1970.';

CREATE TABLE public.subscriptions (
    id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    removed_at timestamp with time zone,
    revision integer NOT NULL,
    tenant text NOT NULL,
    subscriber text NOT NULL,
    match_key text NOT NULL,
    job_id text,
    destination text NOT NULL,
    status text NOT NULL,
    status_reason text,
    details bytea NOT NULL,
    sealed bytea NOT NULL
);

COMMENT ON COLUMN public.subscriptions.details IS 'JSON: the rest, but for what is secret.';

COMMENT ON COLUMN public.subscriptions.sealed IS 'Target and signing secrets; empty once removed.';

CREATE TABLE public.tapis_notifications (
    subscription_id uuid NOT NULL,
    uuid text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    document bytea NOT NULL
);

COMMENT ON TABLE public.tapis_notifications IS 'What test sequences of Tapis v3 got.';

CREATE TABLE public.tapis_series (
    tenant text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    series text NOT NULL,
    count integer NOT NULL
);

COMMENT ON TABLE public.tapis_series IS 'How many events of a series of Tapis v3 were published.';

CREATE TABLE public.tapis_subscriptions (
    id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    tenant text NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    subject_filter text NOT NULL,
    members text NOT NULL,
    document bytea NOT NULL
);

COMMENT ON TABLE public.tapis_subscriptions IS 'Subscriptions as Tapis v3 knows them: a name and several targets.';

COMMENT ON COLUMN public.tapis_subscriptions.members IS 'Ids of subscriptions, one a target, separated by spaces.';

COMMENT ON COLUMN public.tapis_subscriptions.document IS 'JSON: the rest, without addresses.';

CREATE TABLE public.turns (
    seq bigint NOT NULL,
    subscription_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    job_id text NOT NULL
);

COMMENT ON TABLE public.turns IS 'Who comes when: the deliveries of ordered subscriptions that have not ended. The first of a job may go.';

CREATE SEQUENCE public.turns_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.turns_seq_seq OWNED BY public.turns.seq;

ALTER TABLE ONLY public.attempts ATTACH PARTITION public.attempts_20261127 FOR VALUES FROM ('01a21a4d-4000-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY public.attempts ATTACH PARTITION public.attempts_20261204 FOR VALUES FROM ('01a23e59-c400-0000-0000-000000000000') TO ('01a26266-4800-0000-0000-000000000000');

ALTER TABLE ONLY public.attempts ATTACH PARTITION public.attempts_20261211 FOR VALUES FROM ('01a26266-4800-0000-0000-000000000000') TO ('01a28672-cc00-0000-0000-000000000000');

ALTER TABLE ONLY public.attempts ATTACH PARTITION public.attempts_20261218 FOR VALUES FROM ('01a28672-cc00-0000-0000-000000000000') TO ('01a2aa7f-5000-0000-0000-000000000000');

ALTER TABLE ONLY public.attempts ATTACH PARTITION public.attempts_oldest FOR VALUES FROM (MINVALUE) TO ('01a21a4d-4000-0000-0000-000000000000');

ALTER TABLE ONLY public.deliveries ATTACH PARTITION public.deliveries_20261127 FOR VALUES FROM ('01a21a4d-4000-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY public.deliveries ATTACH PARTITION public.deliveries_20261204 FOR VALUES FROM ('01a23e59-c400-0000-0000-000000000000') TO ('01a26266-4800-0000-0000-000000000000');

ALTER TABLE ONLY public.deliveries ATTACH PARTITION public.deliveries_20261211 FOR VALUES FROM ('01a26266-4800-0000-0000-000000000000') TO ('01a28672-cc00-0000-0000-000000000000');

ALTER TABLE ONLY public.deliveries ATTACH PARTITION public.deliveries_20261218 FOR VALUES FROM ('01a28672-cc00-0000-0000-000000000000') TO ('01a2aa7f-5000-0000-0000-000000000000');

ALTER TABLE ONLY public.deliveries ATTACH PARTITION public.deliveries_oldest FOR VALUES FROM (MINVALUE) TO ('01a21a4d-4000-0000-0000-000000000000');

ALTER TABLE ONLY public.events ATTACH PARTITION public.events_20261127 FOR VALUES FROM ('01a21a4d-4000-0000-0000-000000000000') TO ('01a23e59-c400-0000-0000-000000000000');

ALTER TABLE ONLY public.events ATTACH PARTITION public.events_20261204 FOR VALUES FROM ('01a23e59-c400-0000-0000-000000000000') TO ('01a26266-4800-0000-0000-000000000000');

ALTER TABLE ONLY public.events ATTACH PARTITION public.events_20261211 FOR VALUES FROM ('01a26266-4800-0000-0000-000000000000') TO ('01a28672-cc00-0000-0000-000000000000');

ALTER TABLE ONLY public.events ATTACH PARTITION public.events_20261218 FOR VALUES FROM ('01a28672-cc00-0000-0000-000000000000') TO ('01a2aa7f-5000-0000-0000-000000000000');

ALTER TABLE ONLY public.events ATTACH PARTITION public.events_oldest FOR VALUES FROM (MINVALUE) TO ('01a21a4d-4000-0000-0000-000000000000');

ALTER TABLE ONLY public.processes ALTER COLUMN id SET DEFAULT nextval('public.processes_id_seq'::regclass);

ALTER TABLE ONLY public.turns ALTER COLUMN seq SET DEFAULT nextval('public.turns_seq_seq'::regclass);

INSERT INTO public.alembic_version VALUES
	('0001');

INSERT INTO public.api_keys VALUES
	('01a21e45-a328-7469-be7e-4822c7ff4af7', '2026-11-27 18:30:09.960534+00', '0000000000000000000000000000000000000000000000000000000000000000', 'default', 'jobs', 'a publisher', 'publish'),
	('01a21e45-a32d-74d3-8948-44af1e7cd0b3', '2026-11-27 18:30:09.965139+00', '0000000000000000000000000000000000000000000000000000000000000001', 'default', 'alice', 'alice''s', 'publish subscribe'),
	('01a21e45-a331-731a-9e06-cb23c3512318', '2026-11-27 18:30:09.969318+00', '0000000000000000000000000000000000000000000000000000000000000002', 'default', 'admin', 'an admin', 'admin publish subscribe');

INSERT INTO public.attempts_20261127 VALUES
	('01a21e45-a260-7799-b7a6-7b5a9fe3b95d', 1, '2026-05-04 12:00:00+00', 0.25, 200, 'POST https://example.org/hook', NULL, 'ok'),
	('01a21e45-a26e-74a4-bb87-c5be73026d30', 1, '2026-05-04 12:00:00+00', 0.25, 200, 'POST https://example.org/hook', NULL, 'ok'),
	('01a21e45-a29f-77e2-af1f-b2ef72744df4', 1, '2026-05-04 12:00:00+00', 0.25, 200, 'POST https://example.org/hook', NULL, 'ok'),
	('01a21e45-a2d8-77ff-ae34-533c1edfdbd3', 1, '2026-05-04 12:00:00+00', 0.25, 451, 'POST https://example.org/hook', '451 later', 'ok');

INSERT INTO public.claims VALUES
	('01a21e45-a296-7566-beab-2809036b7e6e', 1),
	('01a21e45-a29a-7218-beb8-dc6da8098519', 1);

INSERT INTO public.deliveries_20261127 VALUES
	('01a21e45-a260-7799-b7a6-7b5a9fe3b95d', '01a21e45-a260-7799-b7a6-7b5a9fe3b95c', '01a21e45-a1bc-7340-9b55-7bc6e74959f3', NULL, '2026-05-04 12:00:00+00', NULL, NULL, 1, 0, 2, NULL, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a26e-74a4-bb87-c5be73026d30', '01a21e45-a26e-74a4-bb87-c5be73026d2f', '01a21e45-a1bc-7340-9b55-7bc6e74959f3', NULL, '2026-05-04 12:00:00+00', NULL, NULL, 1, 0, 3, 3, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a276-70f5-b812-1bf55df55d7b', '01a21e45-a276-70f5-b812-1bf55df55d7a', '01a21e45-a1bc-7340-9b55-7bc6e74959f3', NULL, '2026-11-27 18:30:09.784743+00', NULL, NULL, 0, 0, 4, 4, 'default', 'alice', 'https://example.org:443', 'cancelled by alice'),
	('01a21e45-a293-7736-88cb-66b78450070e', '01a21e45-a293-7736-88cb-66b78450070d', '01a21e45-a1bc-7340-9b55-7bc6e74959f3', NULL, NULL, NULL, 1, 0, 0, 1, NULL, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a29f-77e2-af1f-b2ef72744df4', '01a21e45-a29e-73ad-9c74-9845fd93e4bd', '01a21e45-a1bc-7340-9b55-7bc6e74959f3', '2026-11-27 18:30:09.827655+00', NULL, '2026-11-27 18:30:09.827655+00', NULL, 1, 1, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a2ba-7036-a52b-c8a3be79c51d', '01a21e45-a2ba-7036-a52b-c8a3be79c51c', '01a21e45-a1ca-713e-84be-73584956e109', '2026-11-27 17:30:07.796191+00', NULL, NULL, NULL, 0, 0, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a2c6-728e-85d1-ed1989b081cd', '01a21e45-a2c6-728e-85d1-ed1989b081cc', '01a21e45-a1ca-713e-84be-73584956e109', NULL, NULL, NULL, NULL, 0, 0, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a2cb-7296-aebd-eee0a6cf318e', '01a21e45-a2cb-7296-aebd-eee0a6cf318d', '01a21e45-a1ca-713e-84be-73584956e109', NULL, NULL, NULL, NULL, 0, 0, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a2cf-7608-878a-00a966e0fe85', '01a21e45-a2cf-7608-878a-00a966e0fe84', '01a21e45-a1dc-7615-b6f7-3e04df107b44', NULL, NULL, NULL, NULL, 0, 0, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a2d8-77ff-ae34-533c1edfdbd3', '01a21e45-a2d8-77ff-ae34-533c1edfdbd2', '01a21e45-a1d8-756e-94cc-5da444ef7f72', '2026-11-27 17:30:07.796191+00', NULL, NULL, NULL, 1, 0, 0, 0, 'default', 'alice', 'smtp://mail.example.org:25', NULL),
	('01a21e45-a2e7-761a-b38f-ca0b404ccd2a', '01a21e45-a2e7-761a-b38f-ca0b404ccd29', '01a21e45-a1d3-7329-8d90-5af39ed65b34', '2026-11-27 18:31:09.899395+00', NULL, NULL, NULL, 0, 0, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a2ef-7308-9ee7-ea7e4341aad3', '01a21e45-a2ef-7308-9ee7-ea7e4341aad2', '01a21e45-a1d3-7329-8d90-5af39ed65b34', NULL, NULL, NULL, NULL, 0, 0, 0, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a296-7566-beab-2809036b7e6e', '01a21e45-a296-7566-beab-2809036b7e6d', '01a21e45-a1bc-7340-9b55-7bc6e74959f3', '2026-11-27 17:30:07.796191+00', NULL, NULL, 1, 0, 0, 1, 0, 'default', 'alice', 'https://example.org:443', NULL),
	('01a21e45-a29a-7218-beb8-dc6da8098519', '01a21e45-a29a-7218-beb8-dc6da8098518', '01a21e45-a1ea-7342-828c-e117f5a2fb37', '2026-11-27 17:30:07.796191+00', NULL, NULL, 1, 0, 0, 1, 0, 'default', 'alice', 'https://example.org:443', NULL);

INSERT INTO public.destinations VALUES
	('smtp://mail.example.org:25', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL),
	('https://example.org:443', '2026-11-27 17:30:07.796191+00', '2026-11-27 18:30:09.931953+00', NULL, NULL, NULL, 1, 'status 503', NULL),
	('https://paused.example.org:443', NULL, NULL, '2026-11-27 18:30:09.940396+00', NULL, NULL, 0, NULL, 'maintenance'),
	('https://limited.example.org:443', NULL, NULL, NULL, 2, 4, 0, NULL, NULL);

INSERT INTO public.digest_members VALUES
	('01a21e45-a2ef-7308-9ee7-ea7e4341aad3', '01a21e45-a2e7-761a-b38f-ca0b404ccd2a', '01a21e45-a1d3-7329-8d90-5af39ed65b34');

INSERT INTO public.digests VALUES
	('87b8aeb5-9828-3a52-5472-80170754b803', '01a21e45-a1d3-7329-8d90-5af39ed65b34', '01a21e45-a2e7-761a-b38f-ca0b404ccd2a', '2026-11-27 18:31:09.899395+00', NULL, 2, 462);

INSERT INTO public.events_20261127 VALUES
	('01a21e45-a240-74b3-b220-89c565169035', '2026-11-27 18:30:09.728795+00', '2026-11-27 18:30:09.728798+00', 'default', 'evt_01a21e45a24074b3b22089c565169035', '/jobs', 'job.SUBMITTED', 'SUBMITTED', 'job-0', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613234303734623362323230383963353635313639303335222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e5355424d4954544544222c227375626a656374223a226a6f622d30222c2274696d65223a22323032362d31312d32375431383a33303a30392e3732383739355a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a225355424d4954544544222c22737461747573223a225355424d4954544544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a256-7741-8d45-90cb634c4af6', '2026-11-27 18:30:09.750795+00', '2026-11-27 18:30:09.750798+00', 'default', 'evt_01a21e45a25677418d4590cb634c4af6', '/jobs', 'job.RUNNING', 'RUNNING', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613235363737343138643435393063623633346334616636222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e52554e4e494e47222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d31312d32375431383a33303a30392e3735303739355a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2252554e4e494e47222c22737461747573223a2252554e4e494e47227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a25a-76af-bcfd-a46800633bb8', '2026-11-27 18:30:09.754463+00', '2026-11-27 18:30:09.754465+00', 'default', 'evt_01a21e45a25a76afbcfda46800633bb8', '/jobs', 'job.FINISHED', 'FINISHED', 'job-2', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613235613736616662636664613436383030363333626238222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d32222c2274696d65223a22323032362d31312d32375431383a33303a30392e3735343436335a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a25b-7277-828c-2d97d5901fb7', '2026-11-27 18:30:09.755449+00', '2026-11-27 18:30:09.75545+00', 'default', 'evt_01a21e45a25b7277828c2d97d5901fb7', '/jobs', 'job.RUNNING', 'RUNNING', 'job-3', NULL, NULL, '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613235623732373738323863326439376435393031666237222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e52554e4e494e47222c227375626a656374223a226a6f622d33222c2274696d65223a22323032362d31312d32375431383a33303a30392e3735353434395a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2252554e4e494e47222c22737461747573223a2252554e4e494e47227d7d'),
	('01a21e45-a25c-74a1-89c0-ba46fc7464cd', '2026-11-27 18:30:09.756885+00', '2026-11-27 18:30:09.756887+00', 'default', 'evt_01a21e45a25c74a189c0ba46fc7464cd', '/jobs', 'job.PERMISSION_GRANT', 'PERMISSION_GRANT', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613235633734613138396330626134366663373436346364222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e5045524d495353494f4e5f4752414e54222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d31312d32375431383a33303a30392e3735363838355a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a225045524d495353494f4e5f4752414e54222c22757365726e616d65223a22626f62222c227065726d697373696f6e223a2252454144227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a260-7799-b7a6-7b5a9fe3b95c', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2607799b7a67b5a9fe3b95c', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613236303737393962376136376235613966653362393563222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a26e-74a4-bb87-c5be73026d2f', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a26e74a4bb87c5be73026d2f', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613236653734613462623837633562653733303236643266222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a276-70f5-b812-1bf55df55d7a', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a27670f5b8121bf55df55d7a', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613237363730663562383132316266353564663535643761222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a293-7736-88cb-66b78450070d', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a293773688cb66b78450070d', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613239333737333638386362363662373834353030373064222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a296-7566-beab-2809036b7e6d', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2967566beab2809036b7e6d', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613239363735363662656162323830393033366237653664222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a29a-7218-beb8-dc6da8098518', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a29a7218beb8dc6da8098518', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613239613732313862656238646336646138303938353138222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a29e-73ad-9c74-9845fd93e4bd', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a29e73ad9c749845fd93e4bd', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613239653733616439633734393834356664393365346264222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2ba-7036-a52b-c8a3be79c51c', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2ba7036a52bc8a3be79c51c', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613262613730333661353262633861336265373963353163222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2c6-728e-85d1-ed1989b081cc', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2c6728e85d1ed1989b081cc', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613263363732386538356431656431393839623038316363222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2cb-7296-aebd-eee0a6cf318d', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2cb7296aebdeee0a6cf318d', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613263623732393661656264656565306136636633313864222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2cf-7608-878a-00a966e0fe84', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2cf7608878a00a966e0fe84', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613263663736303838373861303061393636653066653834222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2d8-77ff-ae34-533c1edfdbd2', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2d877ffae34533c1edfdbd2', '/jobs', 'job.FINISHED', 'FINISHED', 'job-1', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613264383737666661653334353333633165646664626432222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a226a6f622d31222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2e7-761a-b38f-ca0b404ccd29', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2e7761ab38fca0b404ccd29', '/jobs', 'job.FINISHED', 'FINISHED', 'a', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613265373736316162333866636130623430346363643239222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a2261222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d'),
	('01a21e45-a2ef-7308-9ee7-ea7e4341aad2', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', 'default', 'evt_01a21e45a2ef73089ee7ea7e4341aad2', '/jobs', 'job.FINISHED', 'FINISHED', 'a', 'alice', 'alice', '\x7b227370656376657273696f6e223a22312e30222c226964223a226576745f3031613231653435613265663733303839656537656137653433343161616432222c22736f75726365223a222f6a6f6273222c2274797065223a226a6f622e46494e4953484544222c227375626a656374223a2261222c2274696d65223a22323032362d30352d30345431323a30303a30305a222c2274656e616e74223a2264656661756c74222c2264617461223a7b226576656e74223a2246494e4953484544222c22737461747573223a2246494e4953484544227d2c226f776e6572223a22616c696365227d');

INSERT INTO public.identities VALUES
	('e9926030-dc29-722a-7746-f81d147e147a', '01a21e45-a240-74b3-b220-89c565169035'),
	('667103cc-b554-46c0-a560-7ff3600301e0', '01a21e45-a256-7741-8d45-90cb634c4af6'),
	('c027342e-af9c-f42b-09c8-74f08c79d9a8', '01a21e45-a25a-76af-bcfd-a46800633bb8'),
	('8051192f-122d-464e-2eba-eacf864ff946', '01a21e45-a25b-7277-828c-2d97d5901fb7'),
	('6e8b93cb-e668-3768-9740-9fe79f214eb5', '01a21e45-a25c-74a1-89c0-ba46fc7464cd'),
	('ace56213-b4fb-cb31-2ba7-0cd88ebfcfec', '01a21e45-a260-7799-b7a6-7b5a9fe3b95c'),
	('6eab92a0-d3cc-4ed5-51d0-5498da9fcf24', '01a21e45-a26e-74a4-bb87-c5be73026d2f'),
	('27e519b2-2ef7-c310-a56f-eec39ddd5c56', '01a21e45-a276-70f5-b812-1bf55df55d7a'),
	('d37e0afa-7c12-79f4-a794-bd1d606559d9', '01a21e45-a293-7736-88cb-66b78450070d'),
	('db3cb7e8-34dd-396b-2be6-2674181cbdad', '01a21e45-a296-7566-beab-2809036b7e6d'),
	('fe8cbf07-c5fd-4713-3679-2851a827416b', '01a21e45-a29a-7218-beb8-dc6da8098518'),
	('a14e2700-6ccd-c93f-f547-df2a95fb483a', '01a21e45-a29e-73ad-9c74-9845fd93e4bd'),
	('173b128f-1dc8-6a49-04e0-521a5d820cbd', '01a21e45-a2ba-7036-a52b-c8a3be79c51c'),
	('387a12cd-ebd1-7fb6-e81a-80c94ddbf370', '01a21e45-a2c6-728e-85d1-ed1989b081cc'),
	('5acdf2fb-31ee-9631-649d-90b182e49477', '01a21e45-a2cb-7296-aebd-eee0a6cf318d'),
	('ec42b428-a2ea-b0c4-e7e1-9c2ca619defb', '01a21e45-a2cf-7608-878a-00a966e0fe84'),
	('3ccddcfb-4102-5f26-9919-053ff90e1b53', '01a21e45-a2d8-77ff-ae34-533c1edfdbd2'),
	('e1455d07-6265-9000-d300-c8631ea05a53', '01a21e45-a2e7-761a-b38f-ca0b404ccd29'),
	('0d9b8572-0dad-7207-dc20-5dbd61011574', '01a21e45-a2ef-7308-9ee7-ea7e4341aad2');

INSERT INTO public.jobs VALUES
	('default', 'job-0', '01a21e45-a240-74b3-b220-89c565169035', '01a21e45-a240-74b3-b220-89c565169035', '2026-11-27 18:30:09.728795+00', '2026-11-27 18:30:09.728795+00', NULL, NULL, NULL, 1, 'alice', 'SUBMITTED', NULL, NULL, NULL, NULL),
	('default', 'job-2', '01a21e45-a25a-76af-bcfd-a46800633bb8', '01a21e45-a25a-76af-bcfd-a46800633bb8', '2026-11-27 18:30:09.754463+00', '2026-11-27 18:30:09.754463+00', NULL, NULL, '2026-11-27 18:30:09.754463+00', 1, 'alice', 'FINISHED', NULL, NULL, NULL, NULL),
	('default', 'job-3', '01a21e45-a25b-7277-828c-2d97d5901fb7', '01a21e45-a25b-7277-828c-2d97d5901fb7', '2026-11-27 18:30:09.755449+00', '2026-11-27 18:30:09.755449+00', NULL, '2026-11-27 18:30:09.755449+00', NULL, 1, NULL, 'RUNNING', NULL, NULL, NULL, NULL),
	('default', 'job-1', '01a21e45-a256-7741-8d45-90cb634c4af6', '01a21e45-a2d8-77ff-ae34-533c1edfdbd2', '2026-11-27 18:30:09.756885+00', '2026-11-27 18:30:09.750795+00', NULL, '2026-11-27 18:30:09.750795+00', '2026-05-04 12:00:00+00', 14, 'alice', 'RUNNING', NULL, NULL, NULL, NULL),
	('default', 'a', '01a21e45-a2e7-761a-b38f-ca0b404ccd29', '01a21e45-a2ef-7308-9ee7-ea7e4341aad2', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, '2026-05-04 12:00:00+00', 2, 'alice', 'FINISHED', NULL, NULL, NULL, NULL);

INSERT INTO public.mail_consents VALUES
	('default', 'alice', 'ann@example.org', '2026-11-27 18:30:10.008175+00', NULL, '2026-11-27 18:30:10.008175+00', NULL, NULL),
	('default', 'alice', 'carl@example.org', NULL, NULL, NULL, '2026-11-27 18:30:10.029773+00', '550 5.1.1 no such user');

INSERT INTO public.mail_counts VALUES
	('to ann@example.org', '2026-11-27 18:00:00+00', 1);

INSERT INTO public.mail_unsubscribed VALUES
	('01a21e45-a1d8-756e-94cc-5da444ef7f72', 'bob@example.org', '2026-11-27 18:30:10.027578+00');

INSERT INTO public.memos VALUES
	('01a21e45-a2d8-77ff-ae34-533c1edfdbd3', 'ann has it');

INSERT INTO public.permissions VALUES
	('default', 'job-1', 'bob', true, '2026-11-27 18:30:09.756885+00');

INSERT INTO public.processes VALUES
	(1, 1, '2026-11-27 18:30:09.591167+00', '2026-11-27 18:30:10.591167+00', '01a21e45-a1b8-732b-bd8a-18d8bacd34d3', 'old-host');

INSERT INTO public.rates VALUES
	('sub_01a21e45a1ea7342828ce117f5a2fb37', 1795804210.955358);

INSERT INTO public.subscriptions VALUES
	('01a21e45-a1bc-7340-9b55-7bc6e74959f3', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a22706c61696e222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x67414141414142724363777870765a392d49446473664f5a36636138426e3861685851786e456438674849594471336b3437577176496d46395141794b4e6d306948575f4f4e565367384751306f684457635652764144556248385454465162685f6639794a3945314635326e7a6a62504d4a6a39355943786a434453493677675659614962327a7562563775597546536552516e3768633850324c355645656347625f486f5f4934484274373457716263334e6461784b527863456149612d2d48614937417876435f4d50577255556a6a773633796e747a69534176694557535062525969683547552d354d474f546e6a434c58314b417a627a573031334f553062362d736a74383063495476435f666b757a354330564573546b77615063476b636264524a58636d386e5f6441396e3733566e4b303d'),
	('01a21e45-a1ca-713e-84be-73584956e109', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a226f726465726564222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a747275652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x6741414141414272436377784f6f4353714e62316b6237326836544950524e4167496446435a5470704d6c41626c7a35476341364f496267716c2d2d5a4c714d5233624d4d42673377734979555235515844574c79422d3759424f4e7a497a653733594b6256554e6975495f4930373335624d5157554b4947774e6b686152304635596f68374d49795673324947767753506951577357584f785546653349752d664f43764d755a76457156494d4a524f596174486574342d773578474d4773434158517637746e4f756643664d37624c4d38644f616b35696d362d495f3032637073464b536974743671535a78677666316b4d7456673d'),
	('01a21e45-a1d3-7329-8d90-5af39ed65b34', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a22646967657374222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a7b2277616974223a36302c22696e74657276616c223a333630302c2267726f75705f6279223a5b5d2c226d61785f726f7773223a3130307d7d', '\x67414141414142724363777856765667682d794338613435384c666b5f6c4e5a6d325747654b4e5351716d416332446a4b3836586e7149584d767a3937374c696b6676664e553731527442674f797639473367444b4c4d66333756475f64765a6f6841765665675930587363614e6f2d306545786e5f354335487771654237534b436e79764d2d786968695f726b677256423457546c737446344c49516f5f6b7332706168655a646e36457761737874584e5a31567974472d67445669514c3464336b375a4c55323332756e51797468397443496a64526a50307438574d336c6d486b58674c3671627453732d685758663739445463633d'),
	('01a21e45-a1d8-756e-94cc-5da444ef7f72', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'default*', NULL, 'smtp://mail.example.org:25', 'active', NULL, '\x7b226e616d65223a22652d6d61696c222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x674141414141427243637778476c6e424c62445162576b7a436f7644386d336b382d4158646738514d53636f3631565849787257777863472d634e2d726456464d6c74646c536c4d535145324532435372786568534a4973506a49322d4e445357367a6b4456387474594367657962585a5839555465787770596a6a6b49756364756c62445a6a596e57577130387948344877315a5a7979652d4369317062304d446e353179332d6c64726e5041544b764c575f4c38697467554e68315046757033645a31735971715f3843736d365978394f43594f344a753945756c496f7153513d3d'),
	('01a21e45-a1dc-7615-b6f7-3e04df107b44', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'paused', NULL, '\x7b226e616d65223a22706175736564222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x67414141414142724363777877755256396d75596d6f63684d6e7a412d494a5176674368796d5470584f704a45497243457a5a4462344b425f6734654d346c38796b6772764b367438795f496c42457661686a446451764f76346b585a426c4a67546a7a7332624438436245674566624445735270754c6a4b5a5f4359675f7164544a2d426e37754650586d707339305f637249492d484533554e774e6f364c5f465a63776b3536675374444a765f6b4655714f436d31714a6b6257336674786b58537266544e5f6b3761717a3472657265387647634d732d617934706d4432695a4145545a544a754170335f6e6f41386157726f37413d'),
	('01a21e45-a1ea-7342-828c-e117f5a2fb37', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a226c696d69746564222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a7b227065725f7365636f6e64223a312e302c226275727374223a317d2c22646967657374223a6e756c6c7d', '\x67414141414142724363777871485659565a726d73396b41716a4b2d544d555032747748564745574d392d5157784c49445431336b4f764236655875752d75444469504b7031676a4c774377334c5244625558543472515777414c70615f59487a58413172444d4e506c5a667637494f4c72435144755351746d336352597944657545667063504e6d446e4473474e754f355a685a494f7635765745496b76772d66386e3673316e2d5145596f5a3477586f66794563516c3733413047692d546a5f6a3641524654577a50482d7777496c43694e49324a6d4168736c7272673178674357723230703261674d7850674c614970456376343d'),
	('01a21e45-a1f0-7235-bbf4-7a2a083217fb', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'defaultjob:job-1', 'job-1', 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a226f662061206a6f62222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a66616c73652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x67414141414142724363777859507876746a76322d436b2d6b6a565367666742522d52755a362d713638616942444147364778764f7673724b43763179325758356b797276717650486f534657703575655734344a5763525f70726658726e486b376d5436415374304b2d717a6546776a5167616e6c466f78337658492d7a4a36626c6c5851644755493034574c7556747a4555696538736e48596d4d446a4b515f6d3577717043533257425334756c626a63725775627a426b6c6157635144434a695830334770494e6c556f4c796b4b70396a4236516d7845393947776e636c59556c7162546871426a58776f7466656973685633673d'),
	('01a21e45-a1f7-74eb-ba6a-2f1f9e097801', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', '2026-11-27 19:30:07.796196+00', NULL, 1, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a2265787069726573222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x6741414141414272436377786756317756745f7552514d7454443732676b4b6879336d56496848357245556474732d7678425174735a766c624e32446d2d4a7758494f2d756a617a4c6e504e68764656487269657652485a5879307463595464793555324e4b48324e6a2d6353424151777344304f54556c70574c4d3530746774777654384d50334f59334c56375168756b3950676b4a543573744335485269384e73756d4431634c4e47465170306542306e632d455a4f336f394e423850676f3936744a4c7572464470445776776d696239626a6a74637834516f585f73427a6d554246743030366d7a326d686e47485170324f31303d'),
	('01a21e45-a1e6-7337-a71a-231fb14c3643', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, '2026-11-27 18:30:09.662013+00', 2, 'default', 'alice', 'default*', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a2272656d6f766564222c226576656e7473223a5b222a225d2c226f776e6572223a222a222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x'),
	('01a21e45-a332-778e-ac92-7ecd972eb200', '2026-05-04 12:00:00+00', '2026-05-04 12:00:00+00', NULL, NULL, 1, 'default', 'alice', 'defaultowner:alice', NULL, 'https://example.org:443', 'active', NULL, '\x7b226e616d65223a226f66205461706973222c226576656e7473223a5b222a225d2c226f776e6572223a22616c696365222c2266696c74657273223a5b5d2c227265747279223a7b227374726174656779223a226578706f6e656e7469616c222c226c696d6974223a31322c2264656c6179223a352c22666163746f72223a352c226d61785f64656c6179223a38363430302c226a6974746572223a302e322c226d61785f616765223a3235393230307d2c226f726465726564223a66616c73652c2270657273697374656e74223a747275652c226d65746164617461223a7b7d2c2270726576696f75735f7365637265745f756e74696c223a6e756c6c2c22726174655f6c696d6974223a6e756c6c2c22646967657374223a6e756c6c7d', '\x67414141414142724363777868422d677531524f4f454d6c7a4b4b5f64696d5149585a46464356452d4a50526443497a38444c5132646c50394e5f433166356a566a7834454f634d6152386f644d6162716f654c4d73704d376d72775639364463746959514e35525a6d30766c4e744b564974584b434f41423678573063416f7a6259487944586230724e4d5157786163313079736f377179494d5152723375764b5a464d637a2d446c4249566f4e46647a3070315f346b713838776b5a46543550434330786c2d6b2d73347737586533497478386a3541372d4344536245444d324333725a473334473946444f734f693831796579343d');

INSERT INTO public.tapis_notifications VALUES
	('01a21e45-a332-778e-ac92-7ecd972eb200', '00000000-0000-4000-8000-000000000000', '2026-11-27 18:30:10.000257+00', '\x7b7d');

INSERT INTO public.tapis_series VALUES
	('default', '/jobs', 'job-1', 'a-series', 1);

INSERT INTO public.tapis_subscriptions VALUES
	('01a21e45-a332-778e-ac92-7ecd972eb201', '2026-11-27 18:30:09.970751+00', NULL, 'default', 'alice', 'a-name', '*', 'sub_01a21e45a332778eac927ecd972eb200', '\x7b7d');

INSERT INTO public.turns VALUES
	(1, '01a21e45-a1ca-713e-84be-73584956e109', '01a21e45-a2ba-7036-a52b-c8a3be79c51d', 'job-1'),
	(2, '01a21e45-a1ca-713e-84be-73584956e109', '01a21e45-a2c6-728e-85d1-ed1989b081cd', 'job-1'),
	(3, '01a21e45-a1ca-713e-84be-73584956e109', '01a21e45-a2cb-7296-aebd-eee0a6cf318e', 'job-1');

SELECT pg_catalog.setval('public.processes_id_seq', 1, true);

SELECT pg_catalog.setval('public.turns_seq_seq', 3, true);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.attempts_20261127
    ADD CONSTRAINT attempts_20261127_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.attempts_20261204
    ADD CONSTRAINT attempts_20261204_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.attempts_20261211
    ADD CONSTRAINT attempts_20261211_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.attempts_20261218
    ADD CONSTRAINT attempts_20261218_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.attempts_oldest
    ADD CONSTRAINT attempts_oldest_pkey PRIMARY KEY (delivery_id, number);

ALTER TABLE ONLY public.claims
    ADD CONSTRAINT claims_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries_20261127
    ADD CONSTRAINT deliveries_20261127_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries_20261204
    ADD CONSTRAINT deliveries_20261204_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries_20261211
    ADD CONSTRAINT deliveries_20261211_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries_20261218
    ADD CONSTRAINT deliveries_20261218_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries_oldest
    ADD CONSTRAINT deliveries_oldest_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.destinations
    ADD CONSTRAINT destinations_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.digest_members
    ADD CONSTRAINT digest_members_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY public.digests
    ADD CONSTRAINT digests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.events_20261127
    ADD CONSTRAINT events_20261127_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.events_20261204
    ADD CONSTRAINT events_20261204_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.events_20261211
    ADD CONSTRAINT events_20261211_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.events_20261218
    ADD CONSTRAINT events_20261218_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.events_oldest
    ADD CONSTRAINT events_oldest_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (digest);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (tenant, id);

ALTER TABLE ONLY public.mail_consents
    ADD CONSTRAINT mail_consents_pkey PRIMARY KEY (tenant, subscriber, address);

ALTER TABLE ONLY public.mail_counts
    ADD CONSTRAINT mail_counts_pkey PRIMARY KEY (name, began);

ALTER TABLE ONLY public.mail_unsubscribed
    ADD CONSTRAINT mail_unsubscribed_pkey PRIMARY KEY (subscription_id, address);

ALTER TABLE ONLY public.memos
    ADD CONSTRAINT memos_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY public.permissions
    ADD CONSTRAINT permissions_pkey PRIMARY KEY (tenant, job_id, username);

ALTER TABLE ONLY public.processes
    ADD CONSTRAINT processes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.rates
    ADD CONSTRAINT rates_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tapis_notifications
    ADD CONSTRAINT tapis_notifications_pkey PRIMARY KEY (subscription_id, uuid);

ALTER TABLE ONLY public.tapis_series
    ADD CONSTRAINT tapis_series_pkey PRIMARY KEY (tenant, source, subject, series);

ALTER TABLE ONLY public.tapis_subscriptions
    ADD CONSTRAINT tapis_subscriptions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (seq);

CREATE UNIQUE INDEX api_keys_by_digest ON public.api_keys USING btree (digest);

CREATE INDEX api_keys_of_tenant ON public.api_keys USING btree (tenant, id);

CREATE INDEX deliveries_due ON ONLY public.deliveries USING btree (destination, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX deliveries_20261127_destination_due_at_idx ON public.deliveries_20261127 USING btree (destination, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX deliveries_of_event ON ONLY public.deliveries USING btree (event_key);

CREATE INDEX deliveries_20261127_event_key_idx ON public.deliveries_20261127 USING btree (event_key);

CREATE INDEX deliveries_listed ON ONLY public.deliveries USING btree (listed_as, tenant, id) WHERE (listed_as IS NOT NULL);

CREATE INDEX deliveries_20261127_listed_as_tenant_id_idx ON public.deliveries_20261127 USING btree (listed_as, tenant, id) WHERE (listed_as IS NOT NULL);

CREATE INDEX deliveries_waiting ON ONLY public.deliveries USING btree (subscription_id, due_at) WHERE (listed_as < 1);

CREATE INDEX deliveries_20261127_subscription_id_due_at_idx ON public.deliveries_20261127 USING btree (subscription_id, due_at) WHERE (listed_as < 1);

CREATE INDEX deliveries_of_subscription ON ONLY public.deliveries USING btree (subscription_id, id);

CREATE INDEX deliveries_20261127_subscription_id_id_idx ON public.deliveries_20261127 USING btree (subscription_id, id);

CREATE INDEX deliveries_of_destination ON ONLY public.deliveries USING btree (tenant, destination, id);

CREATE INDEX deliveries_20261127_tenant_destination_id_idx ON public.deliveries_20261127 USING btree (tenant, destination, id);

CREATE INDEX deliveries_of_tenant ON ONLY public.deliveries USING btree (tenant, id);

CREATE INDEX deliveries_20261127_tenant_id_idx ON public.deliveries_20261127 USING btree (tenant, id);

CREATE INDEX deliveries_of_subscriber ON ONLY public.deliveries USING btree (tenant, subscriber, id);

CREATE INDEX deliveries_20261127_tenant_subscriber_id_idx ON public.deliveries_20261127 USING btree (tenant, subscriber, id);

CREATE INDEX deliveries_20261204_destination_due_at_idx ON public.deliveries_20261204 USING btree (destination, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX deliveries_20261204_event_key_idx ON public.deliveries_20261204 USING btree (event_key);

CREATE INDEX deliveries_20261204_listed_as_tenant_id_idx ON public.deliveries_20261204 USING btree (listed_as, tenant, id) WHERE (listed_as IS NOT NULL);

CREATE INDEX deliveries_20261204_subscription_id_due_at_idx ON public.deliveries_20261204 USING btree (subscription_id, due_at) WHERE (listed_as < 1);

CREATE INDEX deliveries_20261204_subscription_id_id_idx ON public.deliveries_20261204 USING btree (subscription_id, id);

CREATE INDEX deliveries_20261204_tenant_destination_id_idx ON public.deliveries_20261204 USING btree (tenant, destination, id);

CREATE INDEX deliveries_20261204_tenant_id_idx ON public.deliveries_20261204 USING btree (tenant, id);

CREATE INDEX deliveries_20261204_tenant_subscriber_id_idx ON public.deliveries_20261204 USING btree (tenant, subscriber, id);

CREATE INDEX deliveries_20261211_destination_due_at_idx ON public.deliveries_20261211 USING btree (destination, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX deliveries_20261211_event_key_idx ON public.deliveries_20261211 USING btree (event_key);

CREATE INDEX deliveries_20261211_listed_as_tenant_id_idx ON public.deliveries_20261211 USING btree (listed_as, tenant, id) WHERE (listed_as IS NOT NULL);

CREATE INDEX deliveries_20261211_subscription_id_due_at_idx ON public.deliveries_20261211 USING btree (subscription_id, due_at) WHERE (listed_as < 1);

CREATE INDEX deliveries_20261211_subscription_id_id_idx ON public.deliveries_20261211 USING btree (subscription_id, id);

CREATE INDEX deliveries_20261211_tenant_destination_id_idx ON public.deliveries_20261211 USING btree (tenant, destination, id);

CREATE INDEX deliveries_20261211_tenant_id_idx ON public.deliveries_20261211 USING btree (tenant, id);

CREATE INDEX deliveries_20261211_tenant_subscriber_id_idx ON public.deliveries_20261211 USING btree (tenant, subscriber, id);

CREATE INDEX deliveries_20261218_destination_due_at_idx ON public.deliveries_20261218 USING btree (destination, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX deliveries_20261218_event_key_idx ON public.deliveries_20261218 USING btree (event_key);

CREATE INDEX deliveries_20261218_listed_as_tenant_id_idx ON public.deliveries_20261218 USING btree (listed_as, tenant, id) WHERE (listed_as IS NOT NULL);

CREATE INDEX deliveries_20261218_subscription_id_due_at_idx ON public.deliveries_20261218 USING btree (subscription_id, due_at) WHERE (listed_as < 1);

CREATE INDEX deliveries_20261218_subscription_id_id_idx ON public.deliveries_20261218 USING btree (subscription_id, id);

CREATE INDEX deliveries_20261218_tenant_destination_id_idx ON public.deliveries_20261218 USING btree (tenant, destination, id);

CREATE INDEX deliveries_20261218_tenant_id_idx ON public.deliveries_20261218 USING btree (tenant, id);

CREATE INDEX deliveries_20261218_tenant_subscriber_id_idx ON public.deliveries_20261218 USING btree (tenant, subscriber, id);

CREATE INDEX deliveries_oldest_destination_due_at_idx ON public.deliveries_oldest USING btree (destination, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX deliveries_oldest_event_key_idx ON public.deliveries_oldest USING btree (event_key);

CREATE INDEX deliveries_oldest_listed_as_tenant_id_idx ON public.deliveries_oldest USING btree (listed_as, tenant, id) WHERE (listed_as IS NOT NULL);

CREATE INDEX deliveries_oldest_subscription_id_due_at_idx ON public.deliveries_oldest USING btree (subscription_id, due_at) WHERE (listed_as < 1);

CREATE INDEX deliveries_oldest_subscription_id_id_idx ON public.deliveries_oldest USING btree (subscription_id, id);

CREATE INDEX deliveries_oldest_tenant_destination_id_idx ON public.deliveries_oldest USING btree (tenant, destination, id);

CREATE INDEX deliveries_oldest_tenant_id_idx ON public.deliveries_oldest USING btree (tenant, id);

CREATE INDEX deliveries_oldest_tenant_subscriber_id_idx ON public.deliveries_oldest USING btree (tenant, subscriber, id);

CREATE INDEX destinations_to_watch ON public.destinations USING btree (key) WHERE ((open_until IS NOT NULL) OR (paused_at IS NOT NULL) OR (per_second IS NOT NULL));

CREATE INDEX digest_members_of_leader ON public.digest_members USING btree (leader, delivery_id);

CREATE INDEX digest_members_of_subscription ON public.digest_members USING btree (subscription_id, delivery_id);

CREATE INDEX digests_of_leader ON public.digests USING btree (leader);

CREATE INDEX digests_of_subscription ON public.digests USING btree (subscription_id);

CREATE INDEX events_of_job ON ONLY public.events USING btree (tenant, job_id, key);

CREATE INDEX events_20261127_tenant_job_id_key_idx ON public.events_20261127 USING btree (tenant, job_id, key);

CREATE INDEX events_of_owner ON ONLY public.events USING btree (tenant, job_owner, key);

CREATE INDEX events_20261127_tenant_job_owner_key_idx ON public.events_20261127 USING btree (tenant, job_owner, key);

CREATE INDEX events_of_tenant ON ONLY public.events USING btree (tenant, key);

CREATE INDEX events_20261127_tenant_key_idx ON public.events_20261127 USING btree (tenant, key);

CREATE INDEX events_20261204_tenant_job_id_key_idx ON public.events_20261204 USING btree (tenant, job_id, key);

CREATE INDEX events_20261204_tenant_job_owner_key_idx ON public.events_20261204 USING btree (tenant, job_owner, key);

CREATE INDEX events_20261204_tenant_key_idx ON public.events_20261204 USING btree (tenant, key);

CREATE INDEX events_20261211_tenant_job_id_key_idx ON public.events_20261211 USING btree (tenant, job_id, key);

CREATE INDEX events_20261211_tenant_job_owner_key_idx ON public.events_20261211 USING btree (tenant, job_owner, key);

CREATE INDEX events_20261211_tenant_key_idx ON public.events_20261211 USING btree (tenant, key);

CREATE INDEX events_20261218_tenant_job_id_key_idx ON public.events_20261218 USING btree (tenant, job_id, key);

CREATE INDEX events_20261218_tenant_job_owner_key_idx ON public.events_20261218 USING btree (tenant, job_owner, key);

CREATE INDEX events_20261218_tenant_key_idx ON public.events_20261218 USING btree (tenant, key);

CREATE INDEX events_oldest_tenant_job_id_key_idx ON public.events_oldest USING btree (tenant, job_id, key);

CREATE INDEX events_oldest_tenant_job_owner_key_idx ON public.events_oldest USING btree (tenant, job_owner, key);

CREATE INDEX events_oldest_tenant_key_idx ON public.events_oldest USING btree (tenant, key);

CREATE INDEX jobs_of_owner ON public.jobs USING btree (tenant, owner, first_event);

CREATE INDEX jobs_of_tenant ON public.jobs USING btree (tenant, first_event);

CREATE INDEX mail_counts_by_age ON public.mail_counts USING btree (began);

CREATE INDEX permissions_of_user ON public.permissions USING btree (tenant, username, granted, job_id);

CREATE INDEX subscriptions_of_job ON public.subscriptions USING btree (tenant, job_id, id) WHERE ((removed_at IS NULL) AND (job_id IS NOT NULL));

CREATE INDEX subscriptions_of_subscriber ON public.subscriptions USING btree (tenant, subscriber, id) WHERE (removed_at IS NULL);

CREATE INDEX subscriptions_of_subscriber_to ON public.subscriptions USING btree (tenant, subscriber, destination) WHERE (removed_at IS NULL);

CREATE INDEX subscriptions_of_tenant ON public.subscriptions USING btree (tenant, id) WHERE (removed_at IS NULL);

CREATE INDEX subscriptions_to ON public.subscriptions USING btree (tenant, destination) WHERE (removed_at IS NULL);

CREATE INDEX subscriptions_to_match ON public.subscriptions USING btree (match_key) WHERE ((removed_at IS NULL) AND (status = ANY (ARRAY['active'::text, 'paused'::text])));

CREATE UNIQUE INDEX tapis_subscriptions_by_name ON public.tapis_subscriptions USING btree (tenant, owner, name);

CREATE INDEX tapis_subscriptions_by_subject ON public.tapis_subscriptions USING btree (tenant, subject_filter);

CREATE UNIQUE INDEX turns_of_delivery ON public.turns USING btree (delivery_id);

CREATE INDEX turns_of_job ON public.turns USING btree (subscription_id, job_id, seq);

ALTER INDEX public.attempts_pkey ATTACH PARTITION public.attempts_20261127_pkey;

ALTER INDEX public.attempts_pkey ATTACH PARTITION public.attempts_20261204_pkey;

ALTER INDEX public.attempts_pkey ATTACH PARTITION public.attempts_20261211_pkey;

ALTER INDEX public.attempts_pkey ATTACH PARTITION public.attempts_20261218_pkey;

ALTER INDEX public.attempts_pkey ATTACH PARTITION public.attempts_oldest_pkey;

ALTER INDEX public.deliveries_due ATTACH PARTITION public.deliveries_20261127_destination_due_at_idx;

ALTER INDEX public.deliveries_of_event ATTACH PARTITION public.deliveries_20261127_event_key_idx;

ALTER INDEX public.deliveries_listed ATTACH PARTITION public.deliveries_20261127_listed_as_tenant_id_idx;

ALTER INDEX public.deliveries_pkey ATTACH PARTITION public.deliveries_20261127_pkey;

ALTER INDEX public.deliveries_waiting ATTACH PARTITION public.deliveries_20261127_subscription_id_due_at_idx;

ALTER INDEX public.deliveries_of_subscription ATTACH PARTITION public.deliveries_20261127_subscription_id_id_idx;

ALTER INDEX public.deliveries_of_destination ATTACH PARTITION public.deliveries_20261127_tenant_destination_id_idx;

ALTER INDEX public.deliveries_of_tenant ATTACH PARTITION public.deliveries_20261127_tenant_id_idx;

ALTER INDEX public.deliveries_of_subscriber ATTACH PARTITION public.deliveries_20261127_tenant_subscriber_id_idx;

ALTER INDEX public.deliveries_due ATTACH PARTITION public.deliveries_20261204_destination_due_at_idx;

ALTER INDEX public.deliveries_of_event ATTACH PARTITION public.deliveries_20261204_event_key_idx;

ALTER INDEX public.deliveries_listed ATTACH PARTITION public.deliveries_20261204_listed_as_tenant_id_idx;

ALTER INDEX public.deliveries_pkey ATTACH PARTITION public.deliveries_20261204_pkey;

ALTER INDEX public.deliveries_waiting ATTACH PARTITION public.deliveries_20261204_subscription_id_due_at_idx;

ALTER INDEX public.deliveries_of_subscription ATTACH PARTITION public.deliveries_20261204_subscription_id_id_idx;

ALTER INDEX public.deliveries_of_destination ATTACH PARTITION public.deliveries_20261204_tenant_destination_id_idx;

ALTER INDEX public.deliveries_of_tenant ATTACH PARTITION public.deliveries_20261204_tenant_id_idx;

ALTER INDEX public.deliveries_of_subscriber ATTACH PARTITION public.deliveries_20261204_tenant_subscriber_id_idx;

ALTER INDEX public.deliveries_due ATTACH PARTITION public.deliveries_20261211_destination_due_at_idx;

ALTER INDEX public.deliveries_of_event ATTACH PARTITION public.deliveries_20261211_event_key_idx;

ALTER INDEX public.deliveries_listed ATTACH PARTITION public.deliveries_20261211_listed_as_tenant_id_idx;

ALTER INDEX public.deliveries_pkey ATTACH PARTITION public.deliveries_20261211_pkey;

ALTER INDEX public.deliveries_waiting ATTACH PARTITION public.deliveries_20261211_subscription_id_due_at_idx;

ALTER INDEX public.deliveries_of_subscription ATTACH PARTITION public.deliveries_20261211_subscription_id_id_idx;

ALTER INDEX public.deliveries_of_destination ATTACH PARTITION public.deliveries_20261211_tenant_destination_id_idx;

ALTER INDEX public.deliveries_of_tenant ATTACH PARTITION public.deliveries_20261211_tenant_id_idx;

ALTER INDEX public.deliveries_of_subscriber ATTACH PARTITION public.deliveries_20261211_tenant_subscriber_id_idx;

ALTER INDEX public.deliveries_due ATTACH PARTITION public.deliveries_20261218_destination_due_at_idx;

ALTER INDEX public.deliveries_of_event ATTACH PARTITION public.deliveries_20261218_event_key_idx;

ALTER INDEX public.deliveries_listed ATTACH PARTITION public.deliveries_20261218_listed_as_tenant_id_idx;

ALTER INDEX public.deliveries_pkey ATTACH PARTITION public.deliveries_20261218_pkey;

ALTER INDEX public.deliveries_waiting ATTACH PARTITION public.deliveries_20261218_subscription_id_due_at_idx;

ALTER INDEX public.deliveries_of_subscription ATTACH PARTITION public.deliveries_20261218_subscription_id_id_idx;

ALTER INDEX public.deliveries_of_destination ATTACH PARTITION public.deliveries_20261218_tenant_destination_id_idx;

ALTER INDEX public.deliveries_of_tenant ATTACH PARTITION public.deliveries_20261218_tenant_id_idx;

ALTER INDEX public.deliveries_of_subscriber ATTACH PARTITION public.deliveries_20261218_tenant_subscriber_id_idx;

ALTER INDEX public.deliveries_due ATTACH PARTITION public.deliveries_oldest_destination_due_at_idx;

ALTER INDEX public.deliveries_of_event ATTACH PARTITION public.deliveries_oldest_event_key_idx;

ALTER INDEX public.deliveries_listed ATTACH PARTITION public.deliveries_oldest_listed_as_tenant_id_idx;

ALTER INDEX public.deliveries_pkey ATTACH PARTITION public.deliveries_oldest_pkey;

ALTER INDEX public.deliveries_waiting ATTACH PARTITION public.deliveries_oldest_subscription_id_due_at_idx;

ALTER INDEX public.deliveries_of_subscription ATTACH PARTITION public.deliveries_oldest_subscription_id_id_idx;

ALTER INDEX public.deliveries_of_destination ATTACH PARTITION public.deliveries_oldest_tenant_destination_id_idx;

ALTER INDEX public.deliveries_of_tenant ATTACH PARTITION public.deliveries_oldest_tenant_id_idx;

ALTER INDEX public.deliveries_of_subscriber ATTACH PARTITION public.deliveries_oldest_tenant_subscriber_id_idx;

ALTER INDEX public.events_pkey ATTACH PARTITION public.events_20261127_pkey;

ALTER INDEX public.events_of_job ATTACH PARTITION public.events_20261127_tenant_job_id_key_idx;

ALTER INDEX public.events_of_owner ATTACH PARTITION public.events_20261127_tenant_job_owner_key_idx;

ALTER INDEX public.events_of_tenant ATTACH PARTITION public.events_20261127_tenant_key_idx;

ALTER INDEX public.events_pkey ATTACH PARTITION public.events_20261204_pkey;

ALTER INDEX public.events_of_job ATTACH PARTITION public.events_20261204_tenant_job_id_key_idx;

ALTER INDEX public.events_of_owner ATTACH PARTITION public.events_20261204_tenant_job_owner_key_idx;

ALTER INDEX public.events_of_tenant ATTACH PARTITION public.events_20261204_tenant_key_idx;

ALTER INDEX public.events_pkey ATTACH PARTITION public.events_20261211_pkey;

ALTER INDEX public.events_of_job ATTACH PARTITION public.events_20261211_tenant_job_id_key_idx;

ALTER INDEX public.events_of_owner ATTACH PARTITION public.events_20261211_tenant_job_owner_key_idx;

ALTER INDEX public.events_of_tenant ATTACH PARTITION public.events_20261211_tenant_key_idx;

ALTER INDEX public.events_pkey ATTACH PARTITION public.events_20261218_pkey;

ALTER INDEX public.events_of_job ATTACH PARTITION public.events_20261218_tenant_job_id_key_idx;

ALTER INDEX public.events_of_owner ATTACH PARTITION public.events_20261218_tenant_job_owner_key_idx;

ALTER INDEX public.events_of_tenant ATTACH PARTITION public.events_20261218_tenant_key_idx;

ALTER INDEX public.events_pkey ATTACH PARTITION public.events_oldest_pkey;

ALTER INDEX public.events_of_job ATTACH PARTITION public.events_oldest_tenant_job_id_key_idx;

ALTER INDEX public.events_of_owner ATTACH PARTITION public.events_oldest_tenant_job_owner_key_idx;

ALTER INDEX public.events_of_tenant ATTACH PARTITION public.events_oldest_tenant_key_idx;
