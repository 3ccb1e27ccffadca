"""agavepy, driven line by line: a JSON array `[service, method, arguments]` in, `{"result": …}` or `{"error": …}` out.

Run in a separate environment, with the service's address and a key as arguments.
"""

from __future__ import annotations

import json
import sys

from agavepy import agave  # type: ignore[import-not-found, unused-ignore]  # it is in the client's environment

url, key = sys.argv[1:]
out, sys.stdout = sys.stdout, sys.stderr  # what the package prints is no answer

# Its templates say https, and it sends no key to a host with a port unless it is configured to.
host = url.removeprefix("http://")
resources = json.loads(json.dumps(agave.load_resource(url)).replace(f"https://{host}", url))
client = agave.Agave(api_server=url, token=key, resources=resources)
client.host = host.partition(":")[0]
client.refresh_aris()

for line in sys.stdin:
    service, method, arguments = json.loads(line)
    try:
        said = {"result": getattr(getattr(client, service), method)(**arguments)}
    except Exception as error:  # noqa: BLE001 - the test judges what the package makes of an answer
        response = getattr(error, "response", None)
        said = {"error": str(error), "status": getattr(response, "status_code", None)}
    print(json.dumps(said, default=str), file=out, flush=True)
