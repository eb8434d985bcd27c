"""Administers a server's users from the command line; passwords come from a file or stdin.

    python -m nodes.admin --config server.toml add-group 1001
    python -m nodes.admin --config server.toml add-user A --vpn 1001 --password-file a.password
    python -m nodes.admin --config server.toml move A 2
    python -m nodes.admin --config server.toml list --json
    python -m nodes.admin --config server.toml on-line --json

Works whether the server runs or not; one that runs is told. With ``--json`` a change prints its row
of the audit log. Exits 0 when done, 1 when refused (exists already, unknown) or
no server answers, 2 for usage, configuration errors and values that can never be right.

Patent: tables 506, 12-2.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nodes.administration import announce
from nodes.command_line import Parser, print_text, whole
from nodes.configuration import ConfigurationError, ServerConfiguration, load_server, read_password
from nodes.private_file import PASSWORD_LENGTH, parse_password
from nodes.status import StatusError, fetch_status, print_table
from nodes.users import (
    AuditEntry,
    UserDatabase,
    UserDatabaseError,
    UserInputError,
    UserRefusedError,
    operator,
)
from protocol.types import Secret

DONE, REFUSED, UNUSABLE = 0, 1, 2
ON_LINE = "users on line"
"""The server's table of them."""
AUDIT_COLUMNS = ("number", "time", "who", "from", "VPN ID", "of", "change", "old", "new")

Change = Callable[[argparse.Namespace, UserDatabase], AuditEntry]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code; argparse itself exits 2 on wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        configuration = load_server(options.config)
        database = UserDatabase(_database_path(configuration, options.config))
        if options.show is not None:
            options.show(options, database)
            return DONE
        if options.ask is not None:
            return _ask(options, configuration)
        entry = options.change(options, database)
    except UserRefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return UNUSABLE if isinstance(error, UserInputError) else REFUSED
    except (ConfigurationError, UserDatabaseError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    taken_up = announce(configuration.server.admin_socket)
    if options.json:
        shown = {"change": msgspec.to_builtins(entry), "taken_up_by_server": taken_up}
        print_text(json.dumps(shown, indent=2))
    vpn_id = getattr(options, "vpn_id", None)
    if vpn_id is not None and vpn_id not in configuration.groups:
        print(f"note: {options.config} has no table [groups.{vpn_id}] yet", file=sys.stderr)
    return DONE


def _database_path(configuration: ServerConfiguration, file: Path) -> Path:
    if configuration.server.database is None:
        raise ConfigurationError(file, None, "server.database", "a path", "nothing")
    return configuration.server.database


def _add_user(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    password = _password(options, options.user).reveal()
    by = operator("command")
    return database.add(options.user, password, options.vpn_id, options.sub_id, by=by)


def _expel(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    return database.remove(options.user, by=operator("command"))


def _set_password(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    password = _password(options, options.user).reveal()
    return database.set_password(options.user, password, by=operator("command"))


def _move(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    return database.set_sub_id(options.user, options.sub_id, by=operator("command"))


def _add_group(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    return database.add_group(options.vpn_id, options.name, by=operator("command"))


def _add_administrator(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    password = _password(options, options.administrator).reveal()
    by = operator("command")
    return database.administrators.add(options.administrator, password, options.vpn_ids, by=by)


def _remove_administrator(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    return database.administrators.remove(options.administrator, by=operator("command"))


def _set_administrator_password(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    password = _password(options, options.administrator).reveal()
    by = operator("command")
    return database.administrators.set_password(options.administrator, password, by=by)


def _grant(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    by = operator("command")
    return database.administrators.grant(options.administrator, options.vpn_id, by=by)


def _revoke(options: argparse.Namespace, database: UserDatabase) -> AuditEntry:
    by = operator("command")
    return database.administrators.revoke(options.administrator, options.vpn_id, by=by)


def _list(options: argparse.Namespace, database: UserDatabase) -> None:
    groups, records = database.groups(), database.records()
    administrators = database.administrators.rows()
    if options.json:
        shown: dict[str, list[Any]] = {
            "groups": [{"vpn_id": vpn_id, "name": name} for vpn_id, name in groups.items()],
            "users": [
                {"user": record.user, "vpn_id": record.vpn_id, "sub_id": record.sub_id}
                for record in records
            ],
            "administrators": msgspec.to_builtins(administrators),
        }
        print_text(json.dumps(shown, indent=2))
        return
    print_table("groups", ("VPN ID", "name"), list(groups.items()))
    users = [(record.user, record.vpn_id, record.sub_id) for record in records]
    print_table("506 user VPN group", ("user", "VPN ID", "Sub ID"), users)
    rows = [(administrator.name, administrator.groups) for administrator in administrators]
    print_table("group administrators", ("name", "VPN IDs"), rows)


def _ask(options: argparse.Namespace, configuration: ServerConfiguration) -> int:
    """Asks the running server; returns the exit code."""
    try:
        snapshot = fetch_status(configuration.server.status_socket)
    except StatusError as error:
        print(error, file=sys.stderr)
        return REFUSED
    options.ask(options, snapshot)
    return DONE


def _on_line(options: argparse.Namespace, snapshot: dict[str, Any]) -> None:
    """Shows who is on line, and what has come from and gone to each."""
    table = snapshot["tables"].get(ON_LINE, {"columns": [], "rows": []})
    columns = table["columns"]
    rows = [
        row
        for row in table["rows"]
        if options.of_vpn in (None, dict(zip(columns, row, strict=True))["VPN ID"])
    ]
    if options.json:
        print_text(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
        return
    print_table(ON_LINE, columns, rows)


def _audit(options: argparse.Namespace, database: UserDatabase) -> None:
    entries = database.audit.entries(options.of_vpn, options.limit)
    if options.json:
        print_text(json.dumps(msgspec.to_builtins(entries), indent=2))
        return
    rows = [
        (
            *(entry.number, entry.time, entry.who, f"{entry.source} {entry.address}".rstrip()),
            *(entry.vpn_id, entry.subject, entry.operation, entry.old, entry.new),
        )
        for entry in entries
    ]
    print_table("changes, newest first", AUDIT_COLUMNS, rows)


def _password(options: argparse.Namespace, name: str) -> Secret:
    """Takes the password from the file, the terminal without echo, or whatever stdin is."""
    if options.password_file is not None:
        return read_password(options.password_file)
    if sys.stdin.isatty():
        return parse_password(getpass.getpass(f"Password of {name}: ").encode(), "terminal")
    return parse_password(sys.stdin.buffer.read(PASSWORD_LENGTH + 3), "stdin")


class _Commands:
    """The subcommands, each with what all of them take."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def change(
        self,
        change: Change,
        name: str,
        text: str,
        *arguments: str,
        aliases: Sequence[str] = (),
        takes_password: bool = False,
    ) -> argparse.ArgumentParser:
        """Adds a command that changes something; ``arguments`` are the positional ones."""
        command = self._add(name, text, aliases)
        command.set_defaults(change=change, show=None, ask=None)
        for argument in arguments:
            kind = int if argument.endswith("_id") else str
            command.add_argument(argument, type=kind, metavar=argument.upper())
        if takes_password:
            source = "read the password from this file (mode 0600) instead of stdin"
            command.add_argument("--password-file", type=Path, metavar="FILE", help=source)
        return command

    def show(
        self, show: Callable[[argparse.Namespace, UserDatabase], None], name: str, text: str
    ) -> argparse.ArgumentParser:
        """Adds a command that shows something."""
        command = self._add(name, text, ())
        command.set_defaults(show=show, ask=None)
        return command

    def ask(
        self, ask: Callable[[argparse.Namespace, dict[str, Any]], None], name: str, text: str
    ) -> argparse.ArgumentParser:
        """Adds a command that shows something of the running server's status."""
        command = self._add(name, text, ())
        command.set_defaults(show=None, ask=ask)
        return command

    def _add(self, name: str, text: str, aliases: Sequence[str]) -> argparse.ArgumentParser:
        command = self._commands.add_parser(name, help=text, aliases=list(aliases))
        command.add_argument("--json", action="store_true", help="print JSON")
        return command


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m nodes.admin", description="Administers the users of a server.")
    parser.add_argument("--config", type=Path, required=True, help="the server's TOML file")
    commands = _Commands(parser)
    group = commands.change(_add_group, "add-group", "add a VPN group", "vpn_id")
    group.add_argument("--name", default="", help="a name for people")
    _add_user_commands(commands)
    _add_administrator_commands(commands)
    commands.show(_list, "list", "show groups, users and administrators")
    on_line = commands.ask(_on_line, "on-line", "show who is on line, and each one's traffic")
    on_line.add_argument(
        "--vpn", dest="of_vpn", type=whole(), metavar="VPN_ID", help="of one group"
    )
    audit = commands.show(_audit, "audit", "show who has changed what")
    audit.add_argument("--vpn", dest="of_vpn", type=whole(), metavar="VPN_ID", help="of one group")
    audit.add_argument("--limit", type=whole(), default=100, help="how many of the newest (100)")
    return parser


def _add_user_commands(commands: _Commands) -> None:
    text = "add a user to a group"
    user = commands.change(_add_user, "add-user", text, "user", takes_password=True)
    user.add_argument("--vpn", dest="vpn_id", type=whole(), required=True, metavar="VPN_ID")
    user.add_argument("--sub-id", type=whole(), default=1, metavar="SUB_ID")
    commands.change(_expel, "remove-user", "expel a user", "user", aliases=["expel"])
    text = "give a user another password"
    commands.change(_set_password, "set-password", text, "user", takes_password=True)
    text = "move a user to another Sub ID"
    commands.change(_move, "set-sub-id", text, "user", "sub_id", aliases=["move"])


def _add_administrator_commands(commands: _Commands) -> None:
    add, name = "add a group administrator", "administrator"
    new = commands.change(_add_administrator, "add-administrator", add, name, takes_password=True)
    new.add_argument(
        "--vpn", dest="vpn_ids", type=whole(), action="append", required=True, metavar="VPN_ID",
        help="a group to administer; may be given several times",
    )  # fmt: skip
    remove = "remove a group administrator"
    commands.change(_remove_administrator, "remove-administrator", remove, name)
    another = "give an administrator another password"
    commands.change(
        _set_administrator_password,
        "set-administrator-password",
        another,
        name,
        takes_password=True,
    )
    commands.change(_grant, "grant", "give an administrator one group more", name, "vpn_id")
    commands.change(_revoke, "revoke", "take one group from an administrator", name, "vpn_id")


if __name__ == "__main__":
    sys.exit(main())
