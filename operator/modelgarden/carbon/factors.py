"""What emissions are computed with where a spec leaves it open."""

from __future__ import annotations

from modelgarden.api.common import Carbon
from modelgarden.api.pods import PodCarbon
from modelgarden.settings import Settings


def carbon_factors(carbon: Carbon, settings: Settings) -> PodCarbon:
    """Return what emissions are computed with: the spec's, else the operator's."""
    pue = carbon.pue if carbon.pue is not None else settings.default_pue
    return PodCarbon(
        zone=carbon.zone or settings.default_zone,
        pue_milli=round(pue * 1000),
        pue_given=carbon.pue is not None,
    )
