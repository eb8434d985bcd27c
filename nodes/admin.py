"""Administers a server's users from the command line; passwords come from a file or stdin.

    python -m nodes.admin --config server.toml add-group 1001
    python -m nodes.admin --config server.toml add-user A --vpn 1001 --password-file a.password
    python -m nodes.admin --config server.toml list --json

Exits 0 when done, 1 when refused (exists already, unknown), 2 for usage and configuration errors.

Patent: tables 506, 12-2.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nodes.configuration import ConfigurationError, ServerConfiguration, load_server, read_password
from nodes.private_file import PASSWORD_LENGTH, parse_password
from nodes.status import print_table
from nodes.users import UserDatabase, UserDatabaseError, UserRefusedError
from protocol.types import Secret

DONE, REFUSED, UNUSABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; argparse itself exits 2 on wrong usage."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, UserDatabase], None] = options.command
    try:
        configuration = load_server(options.config)
        database = UserDatabase(_database_path(configuration, options.config))
        command(options, database)
    except UserRefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return REFUSED
    except (ConfigurationError, UserDatabaseError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    vpn_id = getattr(options, "vpn_id", None)
    if vpn_id is not None and vpn_id not in configuration.groups:
        print(f"note: {options.config} has no table [groups.{vpn_id}] yet", file=sys.stderr)
    return DONE


def _database_path(configuration: ServerConfiguration, file: Path) -> Path:
    if configuration.server.database is None:
        raise ConfigurationError(file, None, "server.database", "a path", "nothing")
    return configuration.server.database


def _add_user(options: argparse.Namespace, database: UserDatabase) -> None:
    password = _password(options)
    database.add(options.user, password.reveal(), options.vpn_id, options.sub_id)


def _remove_user(options: argparse.Namespace, database: UserDatabase) -> None:
    database.remove(options.user)


def _set_password(options: argparse.Namespace, database: UserDatabase) -> None:
    database.set_password(options.user, _password(options).reveal())


def _set_sub_id(options: argparse.Namespace, database: UserDatabase) -> None:
    database.set_sub_id(options.user, options.sub_id)


def _add_group(options: argparse.Namespace, database: UserDatabase) -> None:
    database.add_group(options.vpn_id, options.name)


def _list(options: argparse.Namespace, database: UserDatabase) -> None:
    records, groups = database.records(), database.groups()
    if options.json:
        shown = {
            "groups": [{"vpn_id": vpn_id, "name": name} for vpn_id, name in groups.items()],
            "users": [
                {"user": record.user, "vpn_id": record.vpn_id, "sub_id": record.sub_id}
                for record in records
            ],
        }
        print(json.dumps(shown, indent=2))
        return
    print_table("groups", ("VPN ID", "name"), list(groups.items()))
    rows = [(record.user, record.vpn_id, record.sub_id) for record in records]
    print_table("506 user VPN group", ("user", "VPN ID", "Sub ID"), rows)


def _password(options: argparse.Namespace) -> Secret:
    """Takes the password from the file, the terminal without echo, or whatever stdin is."""
    if options.password_file is not None:
        return read_password(options.password_file)
    if sys.stdin.isatty():
        return parse_password(getpass.getpass(f"Password of {options.user}: ").encode(), "terminal")
    return parse_password(sys.stdin.buffer.read(PASSWORD_LENGTH + 3), "stdin")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nodes.admin", description="Administers the users of a server."
    )
    parser.add_argument("--config", type=Path, required=True, help="the server's TOML file")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add_group = commands.add_parser("add-group", help="add a VPN group")
    add_group.add_argument("vpn_id", type=int, metavar="VPN_ID")
    add_group.add_argument("--name", default="", help="a name for people")
    add_group.set_defaults(command=_add_group)

    add_user = commands.add_parser("add-user", help="add a user to a group")
    add_user.add_argument("user", metavar="USER")
    add_user.add_argument("--vpn", dest="vpn_id", type=int, required=True, metavar="VPN_ID")
    add_user.add_argument("--sub-id", type=int, default=1, metavar="SUB_ID")
    add_user.set_defaults(command=_add_user)

    remove_user = commands.add_parser("remove-user", help="remove a user")
    remove_user.add_argument("user", metavar="USER")
    remove_user.set_defaults(command=_remove_user)

    set_password = commands.add_parser("set-password", help="give a user another password")
    set_password.add_argument("user", metavar="USER")
    set_password.set_defaults(command=_set_password)

    set_sub_id = commands.add_parser("set-sub-id", help="move a user to another Sub ID")
    set_sub_id.add_argument("user", metavar="USER")
    set_sub_id.add_argument("sub_id", type=int, metavar="SUB_ID")
    set_sub_id.set_defaults(command=_set_sub_id)

    show = commands.add_parser("list", help="show groups and users")
    show.add_argument("--json", action="store_true", help="print JSON instead of tables")
    show.set_defaults(command=_list)

    for taker in (add_user, set_password):
        source = "read the password from this file (mode 0600) instead of stdin"
        taker.add_argument("--password-file", type=Path, metavar="FILE", help=source)
    return parser


if __name__ == "__main__":
    sys.exit(main())
