"""Write what completion knows of the commands: run it after a command or option has changed."""

from ktrdr_sandbox.cli import grammar

if __name__ == "__main__":
    grammar.FILE.write_text(grammar.as_text(), encoding="utf-8")
