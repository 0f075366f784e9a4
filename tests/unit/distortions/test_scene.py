"""Scene light: development, and steps that act before it."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from seagull_tune.distortions import VARIANTS, render
from seagull_tune.distortions.linear import LIGHT_MAX, code_table, to_light
from seagull_tune.distortions.scene import (
    SCENE_WHITE,
    SHOULDER,
    develop,
    developed,
    light_to_scene,
    scene_to_light,
)
from seagull_tune.errors import DataError
from seagull_tune.records import DistortionStep, Recipe

NO_MASKS = np.zeros((0, 120, 160), dtype=bool)


def _scene() -> np.ndarray:
    """A photograph as scene light, (120, 160, 3) uint16, with highlights two stops above white."""
    light = to_light(np.ascontiguousarray(skimage.data.coffee()[100:220, 200:360])).astype(float) / LIGHT_MAX
    light[:20, :20] = 4.0
    return np.clip(np.rint(light * SCENE_WHITE), 0, 65535).astype(np.uint16)


def _step(type_name: str, variant: str, severity: int = 3, regions: tuple[int, ...] | None = None) -> DistortionStep:
    return DistortionStep(type_name, variant, severity, VARIANTS[type_name, variant].params_for(severity), 5, regions)


def test_development_is_straight_then_bends_to_white() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(-1, 1, 1).repeat(3, axis=2)
    codes = develop(ramp)[:, 0, 0].astype(int)
    assert np.all(np.diff(codes) >= 0) and codes[0] == 0 and codes[-1] == 255
    straight = np.arange(0, int(SHOULDER * SCENE_WHITE))
    assert np.array_equal(codes[straight], code_table()[np.rint(straight / SCENE_WHITE * LIGHT_MAX).astype(np.uint16)])
    assert codes[SCENE_WHITE] == pytest.approx(242, abs=2)  # display white leaves room for highlights
    assert codes[2 * SCENE_WHITE] > codes[SCENE_WHITE]


def test_light_and_back() -> None:
    scene = _scene()
    assert np.array_equal(light_to_scene(scene_to_light(scene)), scene)
    picture = develop(scene)
    assert developed(picture) is picture and np.array_equal(developed(scene), picture)


def test_less_exposure_brings_highlights_back() -> None:
    scene = _scene()
    scene[:, :20] = (np.linspace(1.5, 3.9, 120) * SCENE_WHITE).astype(np.uint16)[:, None, None]
    white = develop(scene)[:, :20]
    under = DistortionStep("exposure", "under", 5, {"stops": 3.0})
    from_light, from_codes = (render(x, Recipe((under,)), NO_MASKS)[:, :20] for x in (scene, develop(scene)))
    assert np.ptp(white[..., 0].astype(int)) < 16
    assert np.ptp(from_light[..., 0].astype(int)) > 40, "the light knows what the picture has lost"
    assert np.ptp(from_codes[..., 0].astype(int)) < 16


@pytest.mark.parametrize("key", [key for key, variant in sorted(VARIANTS.items()) if variant.light is not None])
def test_every_step_on_light_changes_it_and_repeats(key: tuple[str, str]) -> None:
    scene = _scene()
    before = scene.copy()
    recipe = Recipe((_step(*key),))
    out = render(scene, recipe, NO_MASKS)
    assert out.dtype == np.uint8 and np.array_equal(out, render(scene, recipe, NO_MASKS))
    assert np.array_equal(scene, before), "the input was written to"
    # Below the shoulder, and where nothing clips, light and codes agree but for 8-bit steps and the tone curve.
    on_codes = render(develop(scene), recipe, NO_MASKS)
    assert (
        0.4
        < np.abs(out.astype(int) - develop(scene)).mean() / np.abs(on_codes.astype(int) - develop(scene)).mean()
        < 2.5
    )


def test_steps_on_light_come_before_the_tone_curve() -> None:
    blur, jpeg, noise = _step("blur", "gaussian"), _step("compression", "jpeg"), _step("noise", "sensor")
    scene = _scene()
    assert np.array_equal(
        render(scene, Recipe((blur, jpeg, noise)), NO_MASKS), render(scene, Recipe((blur, noise, jpeg)), NO_MASKS)
    )
    assert np.array_equal(render(scene, Recipe((jpeg,)), NO_MASKS), render(develop(scene), Recipe((jpeg,)), NO_MASKS))
    assert np.array_equal(render(scene, Recipe(), NO_MASKS), develop(scene))


def test_local_steps_on_light_leave_the_rest_alone() -> None:
    masks = np.zeros((1, 120, 160), dtype=bool)
    masks[0, :, :80] = True
    scene = _scene()
    out = render(scene, Recipe((_step("exposure", "under", 3, (0,)),)), masks)
    assert np.array_equal(out[:, 80:], develop(scene)[:, 80:])
    assert not np.array_equal(out[:, :80], develop(scene)[:, :80])


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match="uint8 RGB"):
        render(_scene().astype(np.float32), Recipe(), NO_MASKS)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="uint8 RGB"):
        render(_scene()[..., 0], Recipe(), NO_MASKS)
