"""Edit GREETING and save: the backend that mounts this file shows the new text a second later."""

VERSION = "1.0.7.2"
GREETING = "hello from main"
