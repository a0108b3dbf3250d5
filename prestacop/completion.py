"""``prestacop completion bash|zsh``: a script for the shell.

The words come from the table of sub-commands; the flags of a sub-command are looked up in its parser on completion.
"""

from collections.abc import Sequence
from typing import Final

from prestacop.commands import SUBCOMMANDS
from prestacop.parsers import parser_of
from terminal.arguments import command_parser, flags_of

BASH: Final = """\
_prestacop() {
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "COMMANDS --help --version" -- "$word"))
    else
        COMPREPLY=($(compgen -W "$(prestacop complete-flags "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "$word"))
    fi
}
complete -o default -F _prestacop prestacop
"""
ZSH: Final = "autoload -U +X bashcompinit && bashcompinit\n" + BASH
SCRIPTS: Final = {"bash": BASH, "zsh": ZSH}
EPILOG: Final = """\
examples:
  source <(prestacop completion bash)
  prestacop completion zsh >> ~/.zshrc
"""


def main(argv: Sequence[str]) -> int:
    """Print the script."""
    parser = command_parser("prestacop completion", "Print a script that completes commands and flags.", EPILOG)
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="the shell that runs the script")
    shell = parser.parse_args(argv).shell
    print(SCRIPTS[shell].replace("COMMANDS", " ".join((*SUBCOMMANDS, "completion"))), end="")
    return 0


def complete(words: Sequence[str]) -> int:
    """Print what may follow these words of a command line: sub-commands and flags."""
    name, *rest = words or [""]
    if name == "config" and rest[:1] and rest[0] in SUBCOMMANDS:  # the flags of that command follow
        name, *rest = rest
    if name == "completion":
        print("\n".join(sorted(SCRIPTS)))
    elif name in SUBCOMMANDS:
        found = flags_of(parser_of(name))
        given = tuple(word for word in rest if (word,) in found)[:1]
        nested = [at[0] for at in found if len(at) == 1] if not given else []
        nested += SUBCOMMANDS if name == "config" else ()
        print("\n".join([*nested, *found[given]]))
    return 0
