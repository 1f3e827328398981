"""A group of commands: listed in the order of registration, and a mistyped name is answered by the near one."""

from __future__ import annotations

import difflib

import click


class CommandGroup(click.Group):
    """A group whose errors name the command that was meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        # In the order of registration: click sorts by name, which puts what a newcomer needs last.
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError:
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"; did you mean {near[0]!r}" if near else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx) from None
