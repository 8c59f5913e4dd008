"""Started by hand in an MCP container: says which backend it would talk to."""

import os

if __name__ == "__main__":
    print(os.environ.get("KTRDR_API_URL", "http://backend:8000/api/v1"))
