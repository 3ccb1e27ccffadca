// An authorization server on PORT. CLIENTS is JSON: what oidc-provider is to know of its clients.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const port = Number(process.env.PORT);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: JSON.parse(process.env.CLIENTS),
  scopes: ["jobs:read", "jobs:write"],
  ttl: { ClientCredentials: Number(process.env.LIFETIME) },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
    devInteractions: { enabled: false },
  },
});
createServer(provider.callback()).listen(port, "127.0.0.1");
