"""From the texts of a rules directory to a rule set, or to every fault in them."""

import ast
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from engine.features.definition import AGGREGATES
from engine.ruleset import declarations, defaults, ir
from engine.ruleset.aggregates import Catalogue
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.campaigns.read import KEYS as CAMPAIGN_KEYS
from engine.ruleset.campaigns.read import read_campaign
from engine.ruleset.cases import read_case
from engine.ruleset.check import value
from engine.ruleset.errors import Faults, RuleError, RuleErrors
from engine.ruleset.files import LIST_SUFFIX
from engine.ruleset.limits import Budget, Enough
from engine.ruleset.lists import ValueList
from engine.ruleset.model import Derived, ModelsConfig, Rule
from engine.ruleset.parser import Text, parse
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.rules import RULE_KEYS, read_rule, rule_id
from engine.ruleset.ruleset import RuleSet
from engine.ruleset.scope import Scope
from engine.ruleset.types import TRUTHS, Kind
from engine.ruleset.yaml_loader import Mapping as MappingNode
from engine.ruleset.yaml_loader import Node, Scalar, load

SECTIONS: Final = ("features", "lists", "tables", "rules", "models", "campaigns")
ERRORS_MAX: Final = 50  # nobody reads more at once


def content_hash(files: Mapping[str, str]) -> str:
    """The first 16 hex digits of a SHA-256 over names and texts, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name].encode()):
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:16]


def compile(files: Mapping[str, str]) -> RuleSet:
    """Compile the texts of a rules directory (see `engine.ruleset.files.read`).

    All or nothing: raises `RuleErrors` with every fault that was found, in order of place.
    """
    return _Compiler().run(files)


@dataclass(slots=True)
class _Declared:
    name: str
    reader: Reader
    derived: bool
    names: set[str] = field(default_factory=set)


class _Compiler:
    def __init__(self) -> None:
        self.errors: list[RuleError] = []
        self.catalogue = Catalogue()
        self.kinds: dict[str, Kind] = {}
        self.lists: dict[str, ValueList] = {}
        self.declared: dict[str, _Declared] = {}
        self.derived: dict[str, Derived] = {}
        self.places: dict[str, int] = {}
        self.uses: dict[str, tuple[str, ...]] = {}
        self.tables: dict[str, dict[str, str]] = {}
        self.rules: list[Rule] = []
        self.campaigns: list[Campaign] = []
        self.seen: dict[str, str] = {}  # where each is declared; faulty and disabled ones too
        self.budget = Budget()
        self.models = ModelsConfig()
        self.files: Mapping[str, str] = {}

    def run(self, files: Mapping[str, str]) -> RuleSet:
        """Compile the files. Raises `RuleErrors` with all faults found."""
        try:
            self.read(files)
        except Enough as end:
            self.errors = [*self.errors[: ERRORS_MAX - 1], end.fault] if end.fault else self.errors
        if self.errors:
            raise RuleErrors(self.errors[:ERRORS_MAX])
        declared = tuple(self.declared)
        features = tuple(self.catalogue.features)
        derived = tuple(self.derived.values())
        return RuleSet(
            content_hash(files),
            features,
            derived,
            declared,
            self.rules,
            self.lists,
            self.models,
            files,
            self.tables,
            self.campaigns,
        )

    def read(self, files: Mapping[str, str]) -> None:
        """Every section in the order it depends on the others."""
        sections: dict[str, list[tuple[Scalar, Node]]] = {name: [] for name in SECTIONS}
        self.files = files
        for name in sorted(name for name in files if not name.endswith(LIST_SUFFIX)):
            self.attempt(lambda name=name: self.file(name, files[name], sections))  # type: ignore[misc]
        for _, node in sections["lists"]:
            self.attempt(lambda node=node: self.read_lists(node))  # type: ignore[misc]
        for _, node in sections["tables"]:
            self.attempt(lambda node=node: self.read_tables(node))  # type: ignore[misc]
        for _, node in sections["features"]:
            self.attempt(lambda node=node: self.declare_features(node))  # type: ignore[misc]
        for entry in self.declared.values():
            if not entry.derived:
                self.attempt(lambda entry=entry: self.aggregate(entry))  # type: ignore[misc]
        self.order_derived()
        for _, node in sections["rules"]:
            self.attempt(lambda node=node: self.read_rules(node))  # type: ignore[misc]
        for _, node in sections["campaigns"]:
            self.attempt(lambda node=node: self.read_campaigns(node))  # type: ignore[misc]
        self.read_models(sections["models"])

    def attempt(self, run: Callable[[], object]) -> bool:
        """Run, keeping faults for the end, so that an author sees them all at once. Raises `Enough` of them."""
        try:
            run()
        except RuleError as fault:
            self.errors.append(fault)
        except RuleErrors as faults:
            self.errors.extend(faults.errors)
        else:
            return True
        if len(self.errors) >= ERRORS_MAX:
            raise Enough
        return False

    def file(self, name: str, text: str, sections: dict[str, list[tuple[Scalar, Node]]]) -> None:
        root = load(name, text)
        if root is None:
            return
        self.budget.file(mapping(root, "a rule file"))
        faults = Faults()
        reader = Reader(mapping(root, "a rule file"), "a rule file", SECTIONS, faults)
        for section in SECTIONS:
            if reader.has(section):
                sections[section].append(reader.node.items[section])
        faults.check()

    def read_lists(self, node: Node) -> None:
        for name, (key, item) in mapping(node, "'lists'").items.items():
            if name in self.lists:
                raise fail(key, f"the list '{name}' is declared twice")
            self.attempt(lambda key=key, item=item: self.read_list(key, item))  # type: ignore[misc]

    def read_list(self, key: Scalar, item: Node) -> None:
        self.lists[key.raw] = ValueList(key.raw, [])  # known, whatever is wrong with its values
        named = item.get("file") if isinstance(item, MappingNode) else None
        if isinstance(named, Scalar) and named.raw in self.files:
            self.budget.list_file(named, self.files[named.raw])
        self.lists[key.raw] = declarations.value_list(key, item, self.files)

    def read_tables(self, node: Node) -> None:
        for name, (key, item) in mapping(node, "'tables'").items.items():
            if name in self.tables:
                raise fail(key, f"the table '{name}' is declared twice")
            if len(self.tables) == declarations.TABLES_MAX:
                raise fail(key, f"more than {declarations.TABLES_MAX} tables")
            self.tables[name] = {}  # known, whatever is wrong with its entries
            self.attempt(lambda key=key, item=item: self.tables.update({key.raw: declarations.table(key, item)}))  # type: ignore[misc]

    def declare_features(self, node: Node) -> None:
        for item in sequence(node, "'features'"):
            self.attempt(lambda item=item: self.declare_feature(item))  # type: ignore[misc]

    def declare_feature(self, node: Node) -> None:
        """Take in the name and kind of a feature, so that expressions may name it before it is compiled."""
        faults = Faults()
        reader = Reader(mapping(node, "a feature"), "a feature", declarations.FEATURE_KEYS, faults)
        name = declarations.feature_name(reader)
        if name in self.declared:
            first = self.declared[name].reader.node
            place = f"{first.source.name}:{first.line + 1}"
            raise fail(reader.need("name"), f"the feature '{name}' is declared twice", f"first in {place}")
        derived = reader.has("expr")
        if derived:
            for key in ("agg", "of", "by", "window", "where"):
                if reader.has(key):
                    faults.found.append(fail(reader.node.items[key][0], f"a derived feature has no '{key}'"))
        self.declared[name] = _Declared(name, reader, derived)
        self.kinds[name] = Kind.NUMBER  # until it is checked
        faults.check()

    def aggregate(self, entry: _Declared) -> None:
        definition = declarations.feature(entry.reader, entry.name, self.declared)
        try:
            self.catalogue.declare(definition)
        except ValueError as fault:
            raise fail(entry.reader.node, str(fault)) from None
        self.kinds[entry.name] = self.catalogue.kinds[entry.name]

    def order_derived(self) -> None:
        """Check derived features, each after those it names."""
        entries = {name: entry for name, entry in self.declared.items() if entry.derived}
        for entry in entries.values():
            self.attempt(lambda entry=entry: self.find_names(entry, entries))  # type: ignore[misc]
        self.places = {name: place for place, name in enumerate(entries)}
        done: set[str] = set()
        for name in entries:
            self.attempt(lambda name=name: self.visit(name, entries, done, []))  # type: ignore[misc]

    def find_names(self, entry: _Declared, entries: Mapping[str, _Declared]) -> None:
        entry.reader.text("expr") if len(entry.reader.scalar("expr").raw) <= 100 else None
        tree = parse(Text(entry.reader.scalar("expr")))
        entry.names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in entries}

    def visit(self, name: str, entries: Mapping[str, _Declared], done: set[str], path: list[str]) -> None:
        """Compile a derived feature after those it names. Raises `RuleError` where they form a cycle."""
        if name in done:
            return
        if name in path:
            circle = [*path[path.index(name) :], name]
            node = entries[path[-1]].reader.scalar("expr")
            done.update(circle)
            raise fail(node, f"derived features go in a circle: {' -> '.join(circle)}")
        if len(path) >= 100:
            raise fail(entries[name].reader.scalar("expr"), "more than 100 derived features build on each other")
        for other in sorted(entries[name].names, key=self.places.__getitem__):
            self.visit(other, entries, done, [*path, name])
        if name not in done:
            done.add(name)
            self.derive(entries[name])

    def derive(self, entry: _Declared) -> None:
        scope = self.scope("a derived feature", scores=False)
        expression = entry.reader.scalar("expr")
        node = value(Text(expression), scope)
        if node.kind is Kind.STRING:
            raise fail(expression, "a derived feature must be a number or a condition, but this is text")
        kind = "bool" if node.kind in TRUTHS else "number"
        self.kinds[entry.name] = Kind.BOOL if kind == "bool" else Kind.NUMBER
        self.uses[entry.name] = tuple(self.uses_of(node))
        source = entry.reader.node
        self.derived[entry.name] = Derived(entry.name, node, kind, source.source.name, source.line + 1)

    def uses_of(self, tree: ir.Node) -> dict[str, int]:
        """Names and positions of the aggregates a tree reads, through derived features too."""
        found: dict[str, None] = {}
        for node in ir.walk(tree):
            if isinstance(node, ir.Feature):
                found.update(dict.fromkeys(self.uses.get(node.name, (node.name,))))
        return {name: self.catalogue.position(name) for name in found}

    def scope(self, place: str, *, scores: bool) -> Scope:
        return Scope(self.kinds, self.lists, self.tables, scores, self.catalogue.inline, place)

    def read_rules(self, node: Node) -> None:
        for item in sequence(node, "'rules'"):
            self.attempt(lambda item=item: self.read_rule(item))  # type: ignore[misc]

    def read_rule(self, node: Node) -> None:
        faults = Faults()
        reader = Reader(mapping(node, "a rule"), "a rule", RULE_KEYS, faults)
        name = faults.take(lambda: self.own_id(reader), "")
        case = partial(read_case, kinds=self.kinds, catalogue=self.catalogue, lists=self.lists)
        rule, enabled = read_rule(name, reader, self.scope("a rule", scores=True), self.uses_of, case, faults)
        faults.check()
        if enabled:
            self.rules.append(rule)

    def read_campaigns(self, node: Node) -> None:
        for item in sequence(node, "'campaigns'"):
            self.attempt(lambda item=item: self.read_campaign(item))  # type: ignore[misc]

    def read_campaign(self, node: Node) -> None:
        faults = Faults()
        reader = Reader(mapping(node, "a campaign"), "a campaign", CAMPAIGN_KEYS, faults)
        name = faults.take(lambda: self.own_id(reader), "")
        case = partial(read_case, kinds=self.kinds, catalogue=self.catalogue, lists=self.lists)
        scope = self.scope("a campaign", scores=True)
        campaign, enabled = read_campaign(name, reader, scope, self.uses_of, case, faults)
        faults.check()
        if enabled:
            self.campaigns.append(campaign)

    def own_id(self, reader: Reader) -> str:
        """The id of a rule or campaign, which no other has."""
        name, node = rule_id(reader), reader.node
        if name in self.seen:
            what = reader.what.replace("a ", "the ", 1)
            raise fail(reader.need("id"), f"{what} '{name}' is declared twice", f"first in {self.seen[name]}")
        self.seen[name] = f"{node.source.name}:{node.line + 1}"
        return name

    def read_models(self, found: list[tuple[Scalar, Node]]) -> None:
        if not found:
            self.attempt(self.default_models)
            return
        for key, _ in found[1:]:
            first = found[0][0]
            hint = f"first in {first.source.name}:{first.line + 1}"
            self.errors.append(fail(key, "'models' stands in two files", hint))
        self.attempt(lambda: self.read_model(found[0][1]))

    def default_models(self) -> None:
        """Configure what is shipped, for nothing is said."""

        def check(text: Text, known: Mapping[str, Kind]) -> ir.Node:
            place, prefix = "a derived feature", defaults.PREFIX
            return value(text, Scope(known, aggregate=self.catalogue.inline, place=place, prefix=prefix))

        for name, node in defaults.features(check).items():
            kind = "bool" if node.kind in TRUTHS else "number"
            self.derived[name] = Derived(name, node, kind, name, 1, hidden=True)
        self.models = defaults.models()

    def read_model(self, node: Node) -> None:
        reader = Reader(mapping(node, "'models'"), "'models'", declarations.MODEL_KEYS)
        known = list(self.kinds)
        anomaly, fraud = reader.get("anomaly"), reader.get("fraud")
        self.models = ModelsConfig(
            declarations.anomaly(anomaly, known) if anomaly is not None else None,
            declarations.fraud(fraud, known, self.of_labels()) if fraud is not None else None,
        )

    def of_labels(self) -> set[str]:
        """Features that come of arrived labels, those through derived features too."""
        found = {feature.name for feature in self.catalogue.features if AGGREGATES[feature.agg].labels}
        return found | {name for name, reads in self.uses.items() if not found.isdisjoint(reads)}
