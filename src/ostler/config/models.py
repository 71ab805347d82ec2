"""The models of a profile: which exist, and the one meaning of every name that stands for a model.

A model exists when the profile describes it, when an endpoint lists it, or when a tier names it together with a
provider. Everything else that is named is a slip.
"""

from collections.abc import Iterator, Mapping

import msgspec

from ostler.config.draft import Draft
from ostler.config.ladder import TIERS, Ladder
from ostler.config.mistakes import SettingPath
from ostler.config.schema import ModelSection, TierSection
from ostler.config.vocabulary import is_reserved
from ostler.domain.catalog import ModelSpec, normal_model
from ostler.domain.errors import nearest

SOURCES: tuple[SettingPath, ...] = (("models",), ("endpoints",), TIERS)
"""Where models come from: while one of these could not be read, an unknown model is no news."""


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """All models by normalised name."""

    specs: Mapping[str, ModelSpec]
    names: Mapping[str, str]
    """Every name, alias and other spelling -> normalised name."""
    providers: Mapping[str, str]
    """Model -> the provider its own entry names."""


def read_models(draft: Draft, ladder: Ladder) -> Models:
    """The models of a draft. Reports doubled models and ambiguous or reserved names."""
    specs: dict[str, ModelSpec] = {}
    names: dict[str, str] = {}
    for key, section in draft.file.models.items():
        name = normal_model(key)
        if name in specs:
            what = f"is the same model as '{names[name]}'"
            draft.mistakes.add(("models", key), what, "keep one of the two entries")
            continue
        specs[name] = _spec(name, section)
        names[name] = names[key] = name
    for key, section in draft.file.models.items():
        _add_aliases(draft, names, normal_model(key), section.aliases, ("models", key, "aliases"))
    for raw, path in _implied(draft):
        name = normal_model(raw)
        if name not in names:
            specs[name] = ModelSpec(name=name)
            draft.note(("models", name), f"implied by {'.'.join(path)} ({draft.mistakes.place_of(path)})")
        names.setdefault(name, name)
        names.setdefault(raw, names[name])
    _check_names(draft, ladder, names)
    stated = {normal_model(key): section.provider for key, section in draft.file.models.items()}
    providers = {model: provider for model, provider in stated.items() if provider is not None}
    return Models(specs=specs, names=names, providers=providers)


def model_reference(draft: Draft, models: Models, name: str, path: SettingPath) -> str | None:
    """The model a setting names, by name or alias. Reports an unknown one, unless models could not be read."""
    found = models.names.get(name) or models.names.get(normal_model(name))
    if found is None and not draft.mistakes.may_lack(*SOURCES):
        remedy = nearest(name, models.names)
        if not remedy.startswith("did you mean"):
            remedy = f"describe it under `models`, or give its tier a provider ({remedy})"
        draft.mistakes.add(path, f"there is no model '{name}'", remedy)
    return found


def model_references(draft: Draft, models: Models, names: tuple[str, ...], path: SettingPath) -> tuple[str, ...]:
    """All models a setting names. Reports unknown ones and one that is named twice under two names."""
    found: list[str] = []
    for name in names:
        model = model_reference(draft, models, name, path)
        if model in found:
            draft.mistakes.add(path, f"'{name}' is the model '{model}', which is listed already", "keep one")
        elif model is not None:
            found.append(model)
    return tuple(found)


def tier_model_names(section: TierSection) -> tuple[str, ...]:
    """The models of a tier as written, whichever way."""
    return (section.model, *section.models) if section.model is not None else section.models


def _spec(name: str, section: ModelSection) -> ModelSpec:
    return ModelSpec(
        name=name,
        aliases=section.aliases,
        context_tokens=section.context_tokens,
        memory_bytes=section.memory_bytes,
        capabilities=section.capabilities,
        input_usd_per_mtok=section.input_usd_per_mtok,
        output_usd_per_mtok=section.output_usd_per_mtok,
        cache_read_usd_per_mtok=section.cache_read_usd_per_mtok,
        cache_write_usd_per_mtok=section.cache_write_usd_per_mtok,
        reasoning_usd_per_mtok=section.reasoning_usd_per_mtok,
        request_usd=section.request_usd,
        batch_percent=section.batch_percent,
        long_above_tokens=section.long_above_tokens,
        long_input_usd_per_mtok=section.long_input_usd_per_mtok,
        long_output_usd_per_mtok=section.long_output_usd_per_mtok,
        speeds=section.speeds,
    )


def _add_aliases(draft: Draft, names: dict[str, str], model: str, aliases: tuple[str, ...], path: SettingPath) -> None:
    for alias in aliases:
        name = normal_model(alias)
        other = names.setdefault(name, model)
        if other != model:
            kind = "the name" if other == name else "an alias"
            what = f"'{alias}' is ambiguous: it is {kind} of model '{other}' too"
            draft.mistakes.add(path, what, "remove it from one of the two")


def _implied(draft: Draft) -> Iterator[tuple[str, SettingPath]]:
    for name, endpoint in draft.file.endpoints.items():
        for model in endpoint.models:
            yield model, ("endpoints", name, "models")
    for name, tier in draft.file.routing.tiers.items():
        if tier.provider is not None:
            for model in tier_model_names(tier):
                yield model, (*TIERS, name, "model" if model == tier.model else "models")


def _check_names(draft: Draft, ladder: Ladder, names: Mapping[str, str]) -> None:
    for name, model in names.items():
        path = ("models", model) if draft.is_written("models", model) else ("models",)
        if is_reserved(name) or not name.strip():
            draft.mistakes.add(path, f"'{name}' cannot name a model", "it means something else to clients: rename it")
        elif name in ladder.names:
            what = f"'{name}' is ambiguous: it names the tier '{ladder.names[name]}' and the model '{model}'"
            draft.mistakes.add(path, what, "rename one of the two: `model:` accepts both kinds of name")
