"""tapipy, driven line by line: a JSON array `[operation, arguments]` in, `{"result": …}` or `{"error": …}` out.

Run in a separate environment, with the service's address, a tenant and a token as arguments. The operations are
those of the specification that the package brings along.
"""

from __future__ import annotations

import json
import sys

from tapipy.tapis import Tapis  # type: ignore[import-not-found, unused-ignore]  # it is in the client's environment

url, tenant, token = sys.argv[1:]
out, sys.stdout = sys.stdout, sys.stderr  # what the package prints is no answer

# With a tenant it makes no request before the first operation.
client = Tapis(base_url=url, tenant_id=tenant, access_token=token)

for line in sys.stdin:
    operation, arguments = json.loads(line)
    try:
        resource, _, name = operation.rpartition(".")
        said = {"result": getattr(getattr(client, resource or "notifications"), name)(**arguments)}
    except Exception as error:  # noqa: BLE001 - the test judges what the package makes of an answer
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        said = {
            "error": type(error).__name__,
            "message": str(getattr(error, "message", error)),
            "status": status,
        }
    print(json.dumps(said, default=vars), file=out, flush=True)
