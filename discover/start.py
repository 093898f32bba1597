"""Opening a run for a config: it is made where there is none, and a changed config is checked against what was done."""

import secrets
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from discover.campaign import Campaign
from discover.config import Config, load_config, save_config, strategies_of, validate
from discover.errors import DiscoverError
from discover.run import RunFolder, publish
from discover.tables import meta

# What a run cannot change after its first step: the learner's vectors, arms and draws would no longer be comparable.
FIXED = (
    "seed",
    "encoder.model",
    "encoder.max_tokens",
    "encoder.dtype",
    "loop.test",
    "label.task",
    "label.seed",
    "query.reward",
    "query.reward_options",
)
SETTINGS = "config"  # the note in the database: config.yaml again


def start_run(config: Config, root: Path | str | None = None, keep: bool = False) -> Campaign:
    """Open a run folder for a config, making it where it does not exist; a changed config is checked and saved.

    Args:
        config: the settings to go on with.
        root: the folder; by default ``runs/<name>``.
        keep: whether a run that has begun stays with the settings that it has.

    Raises:
        DiscoverError: the folder cannot be written to, the config contradicts what the run has done, or it is changed
            while the loop runs.
    """
    folder = RunFolder(root or Path("runs") / config.name)
    new = not folder.root.exists()
    folder.create()
    try:
        return _started(folder, config, keep)
    except BaseException:
        if new:
            folder.discard()
        raise


def check_found(config: Config, root: Path | str | None = None) -> None:
    """Refuse to begin without documents, before a run folder is made; a database of one's own may hold some.

    Raises:
        DiscoverError: there is no run yet, so nothing can have been crawled or imported.
    """
    folder = RunFolder(root or Path("runs") / config.name)
    if not (config.pool.url or any(path.exists() for path in (folder.config, folder.database, folder.metrics))):
        raise DiscoverError(
            f"the pool is empty, since there is no run in {folder.root} yet: `discover import` or `crawl` first"
        )


def tell_kept(old: Config, config: Config, folder: RunFolder) -> None:
    """Say which settings of a config a command leaves aside, since the run goes on with those that it has."""
    before, after = (_flat(one.model_dump(mode="json")) for one in (old, config))
    if differing := [key for key in after | before if after.get(key) != before.get(key)]:
        print(
            f"{folder.root} keeps the settings that it has, in {folder.config}, which differ in "
            f"{', '.join(differing)}; `discover run` takes new ones",
            file=sys.stderr,
        )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole names, like query.batch."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _started(folder: RunFolder, config: Config, keep: bool) -> Campaign:
    old = _saved(folder)
    if old and old.pool.url != config.pool.url:
        raise DiscoverError(
            f"{folder.root} keeps its documents at pool.url={old.pool.url!r}: set it back, or use another --run"
        )
    campaign = Campaign(folder, config)
    try:
        noted, begun = _noted(campaign), campaign.begun()
        old = old or noted
        if begun:
            if old is None:  # a version before this one began it: there is no copy in the database
                raise DiscoverError(
                    f"{folder.root} has begun, but its config.yaml is missing: put a copy of it back, or start a "
                    "new run with --run"
                )
            if keep and config != old:
                campaign.close()
                tell_kept(old, config, folder)
                return _started(folder, old, keep)
            check_change(noted or old, config, folder)  # the file may have been changed by hand since
        elif old:
            _check_imported(campaign, noted or old, config)
        if config.pool.url:
            _check_owner(campaign)
        if config != old or not folder.config.is_file() or (not begun and config != noted):
            with folder.lock():  # a loop that runs goes on with the settings that it began with
                save_config(config, folder.config)
                campaign.database.note(SETTINGS, config.model_dump(mode="json"))
            _tell_added(campaign, old)
    except BaseException:
        campaign.close()
        raise
    return campaign


def _tell_added(campaign: Campaign, old: Config | None) -> None:
    """Say what becomes of earlier answers where a document may have a label beside those that they name."""
    added = [name for name in campaign.classes if old and name not in old.label.classes]
    if not added or campaign.config.label.task == "multiclass":
        return
    before = sum(len(campaign.queue.labels(arm)) for arm in campaign.arms)
    if before:
        print(
            f"discover: the {before} answers given before know nothing of {', '.join(added)}, and are learned as "
            "saying that it is not there: correct those where it is",
            file=sys.stderr,
        )


def _saved(folder: RunFolder) -> Config | None:
    if not folder.config.is_file():
        return None
    try:
        return load_config(folder.config)
    except DiscoverError as error:
        raise DiscoverError(
            f"{error}; mend it, or move {folder.config} away and give the same command again: the database has a copy"
        ) from error


def check_saved(campaign: Campaign) -> None:
    """Refuse a run folder whose config.yaml was changed by hand to what the run was not begun with.

    Raises:
        DiscoverError: `check_change` says so of the settings that the database has noted.
    """
    noted = _noted(campaign)
    if noted is None or not campaign.begun():
        return
    try:
        check_change(noted, campaign.config, campaign.folder)
    except DiscoverError as error:
        raise DiscoverError(f"{campaign.folder.config}: {error}") from error


def _noted(campaign: Campaign) -> Config | None:
    """The settings as they were last saved, where the file is gone."""
    found = campaign.database.noted(SETTINGS)
    return validate(Config, found, f"the settings in {campaign.database.name}") if found else None


def check_change(old: Config, new: Config, folder: RunFolder) -> None:
    """Refuse what a run that has begun cannot change.

    Raises:
        DiscoverError: a setting of `FIXED` is another, the arms are, or a class is gone.
    """
    pairs = [(key, _value(old, key), _value(new, key)) for key in FIXED]
    pairs.append(("loop.arms (if empty: query.strategy)", list(strategies_of(old)), list(strategies_of(new))))
    for key, before, after in pairs:
        if before != after:
            raise DiscoverError(
                f"{folder.root} was begun with {key}={before!r}, the config now says {after!r}: "
                "set it back, or start a new run with --run"
            )
    before, after = old.query.cost, new.query.cost
    if "tokens" in (before, after) and before != after:
        raise DiscoverError(
            f"{folder.root} was begun with query.cost={before!r}, the config now says {after!r}, and only with "
            "tokens label.budget counts words: set it back, or start a new run with --run"
        )
    before, after = list(old.label.classes), list(new.label.classes)
    if after[: len(before)] != before:
        raise DiscoverError(
            f"{folder.root} was begun with the classes {', '.join(before)}, the config now lists {', '.join(after)}: "
            "classes may be added at the end, not taken away or moved"
        )


def _check_imported(campaign: Campaign, old: Config, new: Config) -> None:
    """Labels are kept as the task and its classes have them from the import on, before the first step of the loop."""
    before, after = old.label.task, new.label.task
    if before != after and campaign.pool.given_labels():
        raise DiscoverError(
            f"{campaign.folder.root} holds labels that were imported with label.task={before!r}, the config now says "
            f"{after!r}: set it back, or import the files anew into another --run"
        )
    if gone := set(old.label.classes) - set(new.label.classes):
        said = [gone.intersection(campaign.labels.names(label)) for label in campaign.pool.given_labels()]
        if lost := set().union(*said):
            raise DiscoverError(
                f"{campaign.folder.root} holds {sum(map(bool, said))} imported labels of classes that the config no "
                f"longer lists ({', '.join(sorted(lost))}): put them back, or import the files anew into another --run"
            )


def _check_owner(campaign: Campaign) -> None:
    """A database of its own for each campaign: in one, two would take each other's questions for their own.

    It has one run folder, since the models lie there, and the lock that keeps two loops apart.
    """
    folder, name = campaign.folder, campaign.config.name
    keys = meta.c.key.in_(["campaign", "folder"])
    with campaign.database.write() as connection:  # one process at a time makes the id
        noted = dict(map(tuple, connection.execute(select(meta.c.key, meta.c.value).where(keys))))
        owner, home = noted.get("campaign", name), noted.get("folder")
        if owner != name:
            raise DiscoverError(
                f"the database at pool.url holds the campaign {owner!r}, this config is called {name!r}: "
                "give it a database of its own, or the same name to go on with that campaign"
            )
        found = folder.id.read_text(encoding="utf-8", errors="replace").strip() if folder.id.is_file() else ""
        if home and home["id"] != found:
            raise DiscoverError(
                f"the database at pool.url belongs to the run folder {home['root']}, and {folder.root} is another: go "
                f"on in that one, or set another pool.url; if it is lost, write {home['id']} into {folder.id} to go on "
                "here, with models learned anew"
            )
        if not found:
            found = secrets.token_hex(8)
            with publish(folder.id) as scratch:
                scratch.write_text(found, encoding="utf-8")
        mine = {"campaign": name, "folder": {"id": found, "root": str(folder.root.resolve())}}
        if noted != mine:
            connection.execute(delete(meta).where(keys))
            connection.execute(meta.insert(), [{"key": key, "value": value} for key, value in mine.items()])


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
