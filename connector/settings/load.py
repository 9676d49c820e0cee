"""Loads winback.yaml: file, references, environment and flags, checked together; every error is told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connector.contracts import Adapter, AdapterOptions
from connector.location import PlaybookError, Problem, nearest
from connector.model import Segment, Severity
from connector.reasons.rulebook import Rulebook, extended
from connector.receivers import Receiver
from connector.rules.conditions import CheckedSegment, ConditionError, check_segment, parse_usage
from connector.rules.lint import Issue, issues
from connector.settings.block import NAME_PATTERN, NAME_RULE
from connector.settings.identity_checks import identity_problems
from connector.settings.layers import environment_overrides, environment_problems, flag_overrides, overlay
from connector.settings.models import DestinationBlock, PlaybookFile
from connector.settings.playbook import DestinationSettings, Playbook
from connector.settings.program_blocks import LinksBlock
from connector.settings.program_checks import Setup
from connector.settings.program_lint import Oddity, oddities
from connector.settings.programs import Built, build_programs
from connector.settings.references import ReferenceProblemError, fill
from connector.settings.secrets import secret_problems
from connector.settings.validation import Step, dotted, find, problems_of, share_problem, shown
from connector.settings.webhooks import read_webhooks, secret_keys, webhook_findings
from connector.yaml_loader import Entry, Items, Node, Scalar, Table, load_file, plain

_CORE_KEYS = tuple(DestinationBlock.model_fields)


@dataclass
class _Loading:
    """What is gathered on the way: problems, origins by dotted key, and keys whose values must not be repeated."""

    environ: Mapping[str, str]
    base_dir: Path
    problems: list[Problem] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    referenced: set[str] = field(default_factory=set)

    def add(self, problems: Iterator[Problem] | Sequence[Problem]) -> None:
        """Note problems, each once, and none at a key whose reference already failed."""
        known = {(problem.location, problem.message) for problem in self.problems}
        for problem in problems:
            if problem.path not in self.broken and (problem.location, problem.message) not in known:
                self.problems.append(problem)


def load_playbook(
    path: Path | str,
    *,
    environ: Mapping[str, str],
    adapters: Mapping[str, Adapter],
    receivers: Mapping[str, Receiver] | None = None,
    overrides: Sequence[str] = (),
) -> Playbook:
    """The playbook in this file.

    Args:
        path: winback.yaml.
        environ: The environment: references and `WINBACK_…` keys are looked up here.
        adapters: The installed adapters by name; each block is checked by its adapter's options model.
        receivers: The installed receivers by name, for `webhooks.sources`; None: there are none.
        overrides: Flags of the form `guards.max_change=10%`; they win over everything.

    Raises:
        PlaybookError: Everything that is wrong, each with file, line, column, key, and what is allowed.
    """
    file = Path(path)
    root = load_file(file, label=str(path))
    if not isinstance(root, Table):
        allowed = tuple(PlaybookFile.model_fields)
        raise PlaybookError([Problem("must be a table of keys", root.location, allowed=allowed)])
    loading = _Loading(environ, file.parent)
    known = receivers or {}
    secret = secret_keys(root, known)
    loading.hidden.update(secret)
    loading.add(list(secret_problems(root, keys=secret)))
    filled = _fill(root, (), loading)
    assert isinstance(filled, Table)
    loading.add(list(environment_problems(environ, referenced=frozenset(loading.referenced))))
    layered = overlay(filled, [*environment_overrides(environ), *flag_overrides(overrides)])
    _share_with_destinations(layered, adapters, loading)
    _note_origins(layered, (), loading)
    return _build(layered, file, adapters, known, loading)


def _build(
    root: Table, file: Path, adapters: Mapping[str, Adapter], receivers: Mapping[str, Receiver], loading: _Loading
) -> Playbook:
    """The playbook, once every part has been checked."""
    core = _core(root, loading)
    sources = _sources(root, adapters, loading)
    destinations = _destinations(root, adapters, loading)
    if core is not None:
        loading.add(list(identity_problems(root, core.identity, sources, destinations, adapters)))
    timezone = core.timezone if core else "UTC"
    checked = _segments(root, timezone, loading)
    _usage_condition(root, loading)
    found = issues(checked)
    loading.add([_impossible(issue) for issue in found if issue.severity is Severity.ERROR])
    built = _programs(root, core, destinations, loading)
    odd = _oddities(built, root, destinations, loading)
    loading.add([oddity.problem() for oddity in odd if oddity.severity is Severity.ERROR])
    webhooks, wrong = read_webhooks(root, core.webhooks if core else None, receivers, hidden=frozenset(loading.hidden))
    loading.add(wrong)
    reasons = _reasons(root, loading)
    if loading.problems or core is None:
        raise PlaybookError(loading.problems)
    playbook = Playbook(
        **{name: getattr(core, name) for name in ("version", "account", "timezone", "warehouse", "journal")},
        **{name: getattr(core, name) for name in ("identity", "activity", "links", "keys", "guards")},
        webhooks=webhooks,
        reasons_file=core.reasons_file,
        sources=sources,
        segments=tuple(item.segment for item in checked),
        program=next((item.block for item in built.checked), None) if core.program else None,
        program_list=tuple(item.block for item in built.checked) if core.programs else None,
        destinations=destinations,
        file=file,
    )
    playbook._checked = checked  # noqa: SLF001 what pydantic's private attributes are for
    playbook._programs = built.programs  # noqa: SLF001
    playbook._reasons = reasons  # noqa: SLF001
    told = [
        *(issue.finding() for issue in found),
        *(oddity.finding() for oddity in odd),
        *webhook_findings(webhooks, built.programs, loading.origins),
    ]
    playbook._findings = tuple(told)  # noqa: SLF001
    playbook._origins = _with_taken(built, loading.origins)  # noqa: SLF001
    return playbook


# --- references and origins -----------------------------------------------------------------------------------


def _fill(node: Node, path: tuple[Step, ...], loading: _Loading) -> Node:
    """The tree with references replaced; what leads nowhere is noted and left."""
    match node:
        case Table():
            entries = {
                key: Entry(entry.key_location, _fill(entry.node, (*path, key), loading))
                for key, entry in node.entries.items()
            }
            return Table(entries, node.location)
        case Items():
            return Items(
                tuple(_fill(item, (*path, number), loading) for number, item in enumerate(node.items)), node.location
            )
        case Scalar():
            return _fill_scalar(node, dotted(path), loading)


def _fill_scalar(scalar: Scalar, key: str, loading: _Loading) -> Scalar:
    try:
        filled = fill(scalar, path=key, environ=loading.environ, base_dir=loading.base_dir)
    except ReferenceProblemError as error:
        loading.add([error.problem])
        loading.broken.add(key)
        return scalar
    if filled.secret_text:
        loading.hidden.add(key)
    for origin in filled.origins:
        loading.referenced.add(origin.removeprefix("environment variable "))
    if filled.origins:
        place = scalar.location
        loading.origins[key] = f"{place.file}:{place.line}, {', '.join(dict.fromkeys(filled.origins))}"
    return filled.scalar


def _note_origins(node: Node, path: tuple[Step, ...], loading: _Loading) -> None:
    """Where each value stands, unless a reference already said more."""
    key = dotted(path)
    place = node.location
    told = f"{place.file}:{place.line}" if place.line else place.file
    if key and (key not in loading.origins or not place.line):
        loading.origins[key] = told
    match node:
        case Table():
            for name, entry in node.entries.items():
                _note_origins(entry.node, (*path, name), loading)
        case Items():
            for number, item in enumerate(node.items):
                _note_origins(item, (*path, number), loading)
        case Scalar():
            if not place.line:
                loading.hidden.add(key)


# --- the parts ------------------------------------------------------------------------------------------------


def _core(root: Table, loading: _Loading) -> PlaybookFile | None:
    """The keys that are ours."""
    try:
        return PlaybookFile.model_validate(plain(root))
    except ValidationError as error:
        loading.add(list(problems_of(error, PlaybookFile, root, hidden=frozenset(loading.hidden))))
        return None


def _blocks(root: Table, section: str, loading: _Loading) -> Iterator[tuple[str, Table]]:
    """The named tables of a section; what is no table, or has no proper name, is noted."""
    import re

    entry = root.entries.get(section)
    if entry is None:
        return
    if not isinstance(entry.node, Table):
        return
    for name, block in entry.node.entries.items():
        path = f"{section}.{name}"
        if not re.fullmatch(NAME_PATTERN, name):
            loading.add([Problem(f"'{name}' is not a name", block.key_location, path, hint=NAME_RULE)])
        if isinstance(block.node, Table):
            yield name, block.node
        else:
            loading.add([Problem("must be a table of keys", block.key_location, path, allowed=("adapter: …",))])


def _sources(root: Table, adapters: Mapping[str, Adapter], loading: _Loading) -> dict[str, Any]:
    """Each source checked by its adapter."""
    found: dict[str, Any] = {}
    for name, block in _blocks(root, "sources", loading):
        adapter = _adapter(block, ("sources", name), adapters, loading)
        if adapter is None:
            continue
        if adapter.source is None:
            _wrong_direction(block, ("sources", name), "read from", loading)
            continue
        options = _options(root, plain(block), ("sources", name), adapter, loading)
        if options is not None:
            found[name] = options
    return found


def _destinations(root: Table, adapters: Mapping[str, Adapter], loading: _Loading) -> dict[str, DestinationSettings]:
    """Each destination: our keys by our model, the others by its adapter's."""
    found: dict[str, DestinationSettings] = {}
    for name, block in _blocks(root, "destinations", loading):
        path = ("destinations", name)
        values = plain(block)
        core = _destination_block(root, {key: values.pop(key) for key in _CORE_KEYS if key in values}, path, loading)
        adapter = _adapter(block, path, adapters, loading)
        if adapter is None:
            continue
        if adapter.destination is None:
            _wrong_direction(block, path, "written to", loading)
            continue
        options = _options(root, values, path, adapter, loading, extra_keys=_CORE_KEYS)
        if core is not None and options is not None:
            found[name] = DestinationSettings(
                lists=core.lists, properties=core.properties, enroll=core.enroll, options=options
            )
    return found


def _destination_block(
    root: Table, values: dict[str, Any], path: tuple[str, str], loading: _Loading
) -> DestinationBlock | None:
    """Our own keys of a destination."""
    try:
        return DestinationBlock.model_validate(values)
    except ValidationError as error:
        loading.add(list(problems_of(error, DestinationBlock, root, within=path, hidden=frozenset(loading.hidden))))
        return None


def _adapter(block: Table, path: tuple[str, str], adapters: Mapping[str, Adapter], loading: _Loading) -> Adapter | None:
    """The adapter a block names."""
    entry = block.entries.get("adapter")
    key = dotted(path)
    if entry is None:
        hint = "a destination with the name of a source shares its adapter" if path[0] == "destinations" else None
        loading.add([Problem("the key 'adapter' is missing", block.location, key, allowed=tuple(adapters), hint=hint)])
        return None
    name = plain(entry.node)
    if name not in adapters:
        near = nearest(str(name), adapters)
        loading.add(
            [Problem(f"no adapter '{name}'", entry.node.location, f"{key}.adapter", near=near, allowed=tuple(adapters))]
        )
        return None
    return adapters[name]


def _wrong_direction(block: Table, path: tuple[str, str], verb: str, loading: _Loading) -> None:
    entry = block.entries["adapter"]
    message = f"the adapter '{plain(entry.node)}' cannot be {verb}"
    loading.add([Problem(message, entry.node.location, f"{dotted(path)}.adapter")])


def _options(
    root: Table,
    values: dict[str, Any],
    path: tuple[str, str],
    adapter: Adapter,
    loading: _Loading,
    *,
    extra_keys: Sequence[str] = (),
) -> Any:
    """The adapter's own model of a block, or None with its problems noted."""
    wrong = share_problem(values, root, path)
    if wrong is not None:
        loading.add([wrong])
        return None
    _refuse_empty_secrets(root, values, path, loading)
    try:
        return adapter.options.model_validate(values)
    except ValidationError as error:
        hidden = frozenset(loading.hidden)
        loading.add(list(problems_of(error, adapter.options, root, within=path, extra_keys=extra_keys, hidden=hidden)))
        return None


def _refuse_empty_secrets(root: Table, values: dict[str, Any], path: tuple[str, str], loading: _Loading) -> None:
    """A credential that is there but empty would fail much later, as a puzzle."""
    auth = values.get("auth")
    for key, value in auth.items() if isinstance(auth, dict) else ():
        if value in ("", None):
            place = find(root, (*path, "auth", key)).node.location
            loading.add([Problem("this secret is empty", place, dotted((*path, "auth", key)))])


def _share_with_destinations(root: Table, adapters: Mapping[str, Adapter], loading: _Loading) -> None:
    """Give each destination what the source of its name has and it does not say itself."""
    sources, destinations = root.entries.get("sources"), root.entries.get("destinations")
    if sources is None or destinations is None:
        return
    if not isinstance(sources.node, Table) or not isinstance(destinations.node, Table):
        return
    for name, entry in destinations.node.entries.items():
        source = sources.node.entries.get(name)
        if source is None or not isinstance(source.node, Table) or not isinstance(entry.node, Table):
            continue
        own = entry.node.entries.get("adapter", source.node.entries.get("adapter"))
        theirs = source.node.entries.get("adapter")
        if own is None or theirs is None or plain(own.node) != plain(theirs.node):
            continue
        adapter = adapters.get(str(plain(own.node)))
        shared = {
            key: source.node.entries[key]
            for key in (adapter.options if adapter is not None else AdapterOptions).connection_keys
            if key in source.node.entries and key not in entry.node.entries
        }
        both = Table({**shared, **entry.node.entries}, entry.node.location)
        destinations.node.entries[name] = Entry(entry.key_location, both)
        for key in shared:
            _share_notes(f"sources.{name}.{key}", f"destinations.{name}.{key}", loading)


def _share_notes(source: str, destination: str, loading: _Loading) -> None:
    """What is known about a shared key and all below it: where it came from, and what must not be repeated."""

    def renamed(key: str) -> str | None:
        below = key == source or key.startswith((f"{source}.", f"{source}["))
        return destination + key[len(source) :] if below else None

    loading.origins.update({new: origin for key, origin in list(loading.origins.items()) if (new := renamed(key))})
    for keys in (loading.hidden, loading.broken):
        keys.update([new for key in keys if (new := renamed(key))])


def _reasons(root: Table, loading: _Loading) -> Rulebook | None:
    """The rules with the team's own file over them; what is wrong in there is told with its line."""
    key = "reasons_file"
    entry = root.entries.get(key)
    if entry is None or not isinstance(entry.node, Scalar) or not isinstance(entry.node.value, str):
        return None
    file = loading.base_dir / entry.node.text
    label = shown(entry.node, key, hidden=frozenset(loading.hidden)).strip("'")
    if not file.is_file():
        hint = "a table: en: {reasons: {price: {0.9: [budget freeze]}}}"
        loading.add([Problem(f"there is no file {label}", entry.node.location, key, hint=hint)])
        return None
    try:
        return extended(file, label=label)
    except PlaybookError as error:
        loading.add(error.problems)
        return None


# --- segments -------------------------------------------------------------------------------------------------


def _segments(root: Table, timezone: str, loading: _Loading) -> tuple[CheckedSegment, ...]:
    """Each segment whose condition can be read; every other is noted."""
    entry = root.entries.get("segments")
    if entry is None or not isinstance(entry.node, Items):
        return ()
    checked: list[CheckedSegment] = []
    first_line: dict[str, int] = {}
    for number, item in enumerate(entry.node.items):
        if not isinstance(item, Table):
            continue
        values = {key: entry.node for key, entry in item.entries.items()}
        name, where, group = (values.get(key) for key in ("name", "where", "group"))
        if not isinstance(name, Scalar) or not isinstance(where, Scalar) or not isinstance(where.value, str | bool):
            continue
        path = dotted(("segments", number))
        if name.text in first_line:
            message = f"the name '{name.text}' is already taken in line {first_line[name.text]}"
            loading.add([Problem(message, name.location, f"{path}.name")])
        first_line.setdefault(name.text, name.location.line)
        group_name = group.text if isinstance(group, Scalar) and group.value is not None else None
        segment = Segment(name.text, where.text.rstrip(), group_name, where.location.line, where.location.column)
        try:
            checked.append(check_segment(segment, where=where.location, timezone=timezone))
        except ConditionError as error:
            loading.add([_at_path(error.problem, f"{path}.where")])
    return tuple(checked)


def _programs(
    root: Table, core: PlaybookFile | None, destinations: Mapping[str, DestinationSettings], loading: _Loading
) -> Built:
    """The programs; what is wrong with them is noted, also when other parts of the file are wrong."""
    setup = Setup(
        root,
        segments=tuple(_segment_names(root)),
        enrolling=tuple(name for name, block in destinations.items() if block.enroll == "workflow"),
        hidden=frozenset(loading.hidden),
    )
    links = core.links if core else _links_alone(root)
    built = build_programs(setup, links=links, timezone=core.timezone if core else "UTC", base_dir=loading.base_dir)
    loading.add(built.problems)
    return built


def _oddities(
    built: Built, root: Table, destinations: Mapping[str, DestinationSettings], loading: _Loading
) -> list[Oddity]:
    """What is allowed in the programs but cannot be meant."""
    return [
        oddity
        for program, checked in zip(built.programs, built.checked, strict=False)
        for oddity in oddities(program, checked, root, destinations=destinations, base_dir=loading.base_dir)
    ]


def _with_taken(built: Built, origins: Mapping[str, str]) -> dict[str, str]:
    """The origins, with those of values that a program takes from another."""
    taken = {own: other for item in built.checked for own, other in item.taken.items()}
    return {**origins, **{own: origins[other] for own, other in taken.items() if other in origins}}


def _links_alone(root: Table) -> LinksBlock | None:
    """The `links:` block of a file that is wrong elsewhere."""
    entry = root.entries.get("links")
    try:
        return LinksBlock.model_validate(plain(entry.node)) if entry else None
    except ValidationError:
        return None


def _segment_names(root: Table) -> Iterator[str]:
    """As written, also of those whose condition is wrong: each error is told once."""
    entry = root.entries.get("segments")
    for item in entry.node.items if entry is not None and isinstance(entry.node, Items) else ():
        name = item.entries.get("name") if isinstance(item, Table) else None
        if name is not None and isinstance(name.node, Scalar):
            yield name.node.text


def _usage_condition(root: Table, loading: _Loading) -> None:
    """`activity.counts`, checked with the place it stands at."""
    found = find(root, ("activity", "counts"))
    if found.taken != ("activity", "counts") or not isinstance(found.node, Scalar) or found.node.value is None:
        return
    try:
        parse_usage(found.node.text, where=found.node.location)
    except ConditionError as error:
        loading.add([_at_path(error.problem, "activity.counts")])


def _at_path(problem: Problem, path: str) -> Problem:
    from dataclasses import replace

    return replace(problem, path=path)


def _impossible(issue: Issue) -> Problem:
    return Problem(f"segment '{issue.segment.segment.name}': {issue.message}", issue.place, hint=issue.fix)
