"""Commands that show what there is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.text import Text

from easyedit_unlearn.builtins import EASYEDIT
from easyedit_unlearn.cli.app import State, app, print_json, registered
from easyedit_unlearn.cli.options import Json
from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.plugins.load import load_plugins
from easyedit_unlearn.report.terminal import print_rows

KINDS = {
    "tasks": "tasks",
    "targets": "target_builders",
    "mergers": "query_mergers",
    "methods": "methods",
    "metrics": "metrics",
}


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")], as_json: Json = False
) -> None:
    """List what can be named in a config."""
    from easyedit_unlearn.errors import suggest

    if kind not in KINDS:
        raise UnlearnError(f"cannot list {kind!r}. {suggest(kind, KINDS)}")
    registry = getattr(registered(), KINDS[kind])
    rows = [{"name": n, "owner": registry.owner(n), "summary": registry.summary(n)} for n in registry.names]
    if kind == "methods":
        rows += [{"name": n, "owner": "EasyEdit", "summary": s} for n, s in EASYEDIT.items() if n not in registry]
    if as_json:
        print_json(rows)
    else:
        print_rows(Console(), kind, ("name", "owner", "summary"), [tuple(row.values()) for row in rows])


@app.command()
def plugins(as_json: Json = False) -> None:
    """Show every plugin, what it adds, and what is wrong with it."""
    infos = [asdict(info) for info in load_plugins(strict=State.strict).infos]
    if as_json:
        print_json(infos)
        return
    rows = [
        (
            i["name"],
            f"{i['distribution']} {i['version']}".strip(),
            i["status"],
            ", ".join(i["components"]) or i["error"],
        )
        for i in infos
    ]
    print_rows(Console(), "plugins", ("plugin", "distribution", "status", "adds"), rows)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say which EasyEdit, which versions, which method comes from where, what is missing and what mends it."""
    from easyedit_unlearn.cli.doctor import diagnose

    with Console(stderr=True).status("looking at the installation (importing EasyEdit takes a few seconds)"):
        found = diagnose(load_plugins(strict=State.strict))
    if as_json:
        print_json(found)
        return
    console, host = Console(), found["host"]
    print_rows(console, "versions", ("package", "version"), [*found["versions"].items(), ("device", found["device"])])
    console.print(
        Text(f"EasyEdit: {host['kind']} {host['version']} in {host['path']}" if host else "EasyEdit: not found")
    )
    print_rows(console, "methods", ("method", "from"), [(m["name"], m["source"]) for m in found["methods"]])
    for item in found["missing"]:
        console.print(Text(f"missing: {item['what']}\n   mend: {item['command']}"), soft_wrap=True)
    for item in found["optional"]:
        console.print(Text(f"not here, and not needed: {item['what']}\n   get: {item['command']}"), soft_wrap=True)
    if not found["missing"]:
        console.print("Nothing is missing for `easyedit-unlearn demo`.")


@app.command()
def rejudge(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What run, evaluate, demo or bench wrote.")],
    out: Annotated[Optional[Path], typer.Option(metavar="DIR", help="Write here, not into DIR.")] = None,  # noqa: UP045
) -> None:
    """Judge the stored replies of a folder anew, without a model, and write its table and pages again."""
    from easyedit_unlearn.experiment.rejudge import read_results, rejudged
    from easyedit_unlearn.report.pages import FILES, write_report
    from easyedit_unlearn.report.table import table_columns
    from easyedit_unlearn.report.terminal import print_report
    from easyedit_unlearn.storage import prepare_output

    metrics = list(registered().metrics)
    results, moves = rejudged(read_results(folder), metrics)
    if out is not None:
        prepare_output(out, overwrite=False, names=FILES)
    write_report(results, out or folder, metrics)
    print_report(Console(), results, table_columns(metrics))
    rows = [(move.label, move.column, move.before, move.after) for move in moves]
    if rows:
        print_rows(Console(), "moved", ("method", "count", "was", "is"), rows)
    else:
        typer.echo("no count moved")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what is kept, of KIND or of all kinds.")] = False,
    kind: Annotated[Optional[str], typer.Argument(help="Of one kind only.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Show what is kept on disk to save time, and how much of its limit it takes."""
    from easyedit_unlearn import caches
    from easyedit_unlearn.errors import suggest
    from easyedit_unlearn.storage import cache_dir

    if kind is not None and kind not in caches.KINDS:
        raise UnlearnError(f"nothing of kind {kind!r} is kept. {suggest(kind, caches.KINDS)}")
    kinds = [kind] if kind else list(caches.KINDS)
    if clear:
        typer.echo(f"freed {caches.clear(kinds) / 1e6:,.0f} MB in {cache_dir()}")
        return
    entries = caches.entries()
    rows: list[dict[str, Any]] = [
        {"kind": one, "entries": len(mine), "bytes": sum(e.size for e in mine), "about": caches.KINDS[one]}
        for one in kinds
        for mine in [[e for e in entries if e.kind == one]]
    ]  # fmt: skip
    if as_json:
        print_json({"folder": str(cache_dir()), "limit": caches.limit_bytes(), "kinds": rows})
        return
    shown = [(r["kind"], str(r["entries"]), f"{r['bytes'] / 1e6:,.0f}", r["about"]) for r in rows]
    print_rows(Console(), "kept on disk", ("kind", "entries", "MB", "what"), shown)
    total = sum(one.size for one in entries)
    typer.echo(
        f"{total / 1e9:.1f} of at most {caches.limit_bytes() / 1e9:g} GB ({caches.VARIABLE}) in {cache_dir()}; the "
        "longest unused goes first, --clear deletes all"
    )
