"""T2 from signals whose truth is known; the published formula's worked values; real scans."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from KneeSegLib.t2.maps import REASONS, T2Options, qdess_map, spin_echo_map
from KneeSegLib.t2.multi_echo import METHODS, fit_decay
from KneeSegLib.t2.phase_graphs import spin_echo_train
from KneeSegLib.t2.qdess import QdessProtocol, exact_t2, published_t2
from KneeSegLib.t2.steady_state import Spoiler, dess_signals, dess_signals_with_diffusion
from MRISegSuiteLib.images.reading import read_volume

#: Protocol of the worked values (../shared/facts/knee.md), without and with its spoiler.
PLAIN = QdessProtocol(20.36, 6.428, 20.0)
SPOILED = QdessProtocol(20.36, 6.428, 20.0, Spoiler(3132.0, 1560.0))
T2_MS = np.arange(20.0, 81.0, 5.0)
TIMES = 6.312 * np.arange(1, 9)


def signals(protocol, t1, t2):
    if protocol.spoiler is None:
        return dess_signals(1.0, t1, t2, protocol.tr, protocol.te, protocol.flip_deg)
    return dess_signals_with_diffusion(t1, t2, protocol.tr, protocol.te, protocol.flip_deg, protocol.spoiler)


@pytest.mark.parametrize(
    ("ratio", "t1", "wanted"),
    [(0.30, 1200, 29.6851), (0.40, 1200, 42.8038), (0.50, 1200, 65.1292), (0.40, 1000, 45.6860)],
)
def test_the_published_formula_gives_its_worked_values(ratio, t1, wanted):
    assert published_t2(ratio, t1, SPOILED) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("protocol", [PLAIN, SPOILED, QdessProtocol(25.0, 7.48, 30.0, Spoiler(3132.0, 1760.0))])
@pytest.mark.parametrize("t1", [800.0, 1000.0, 1200.0, 1400.0])
def test_the_exact_inversion_gives_back_t2(protocol, t1):
    first, second = signals(protocol, t1, T2_MS)
    assert exact_t2(second / first, t1, protocol) == pytest.approx(T2_MS, abs=0.01)


def test_without_diffusion_the_phase_graph_is_the_closed_form():
    still = Spoiler(1e-3, 1560.0)
    for t1 in (800.0, 1400.0):
        graph = dess_signals_with_diffusion(t1, T2_MS, 20.36, 6.428, 20.0, still)
        closed = dess_signals(1.0, t1, T2_MS, 20.36, 6.428, 20.0)
        for mine, wanted in zip(graph, closed, strict=True):
            assert mine == pytest.approx(wanted, rel=1e-6)


def test_the_published_formula_overestimates_as_is_known():
    for t2, percent in ((40.0, 3.4), (60.0, 8.6)):
        first, second = dess_signals(1.0, 1200.0, np.array([t2]), 20.0, 6.0, 20.0)
        found = published_t2(second / first, 1200.0, QdessProtocol(20.0, 6.0, 20.0))
        assert 100 * (found[0] / t2 - 1) == pytest.approx(percent, abs=0.7)  # its TE is not recorded


def test_noise_biases_the_exact_inversion_less(capsys):
    rng = np.random.default_rng(1)
    lines = []
    for t2 in (30.0, 45.0, 60.0):
        first, second = (s[0] for s in signals(SPOILED, 1200.0, np.array([t2])))
        noise = first / 30 * rng.standard_normal((4, 200_000))
        one, two = np.hypot(first + noise[0], noise[1]), np.hypot(second + noise[2], noise[3])
        exact, published = exact_t2(two / one, 1200.0, SPOILED), published_t2(two / one, 1200.0, SPOILED)
        published = np.where(published > 0, published, np.nan)
        bias = [float(np.nanmedian(values) - t2) for values in (exact, published)]
        lines.append(f"T2 {t2:.0f} ms at SNR 30: median off by {bias[0]:+.2f} ms (exact), {bias[1]:+.2f} (published)")
        assert abs(bias[0]) < 0.5 and bias[1] > bias[0]
    with capsys.disabled():
        print("\n" + "\n".join(lines))


@settings(max_examples=30, deadline=None)
@given(st.floats(8.0, 150.0), st.floats(10.0, 1e5))
def test_every_fit_finds_the_truth_of_a_noise_free_decay(t2, amplitude):
    decay = amplitude * np.exp(-TIMES / t2)[None]
    for method in METHODS:
        fit = fit_decay(decay, TIMES, method)
        assert fit.t2[0] == pytest.approx(t2, rel=1e-4), method
        assert fit.amplitude[0] == pytest.approx(amplitude, rel=1e-3) and fit.r_squared[0] > 0.9999


def test_imperfect_refocusing_fools_a_monoexponential_fit_and_not_the_phase_graph():
    truth = np.array([25.0, 40.0, 60.0])
    train = 500 * spin_echo_train(truth, 1200.0, 6.312, 8, 140.0)
    plain, graph = fit_decay(train, TIMES, "nonlinear"), fit_decay(train, TIMES, "phase_graph")
    assert (plain.t2 > 1.05 * truth).all()
    assert graph.t2 == pytest.approx(truth, rel=1e-3)
    assert graph.refocusing_deg == pytest.approx([140.0] * 3, abs=0.5)
    later = fit_decay(train, TIMES, "nonlinear", skip_first=True)
    assert (np.abs(later.t2 - truth) < np.abs(plain.t2 - truth)).all()


def test_ideal_refocusing_is_a_plain_decay():
    assert spin_echo_train(40.0, 1200.0, 6.312, 8, 180.0) == pytest.approx(np.exp(-TIMES / 40.0))


def test_what_cannot_be_fitted_says_so():
    fit = fit_decay(np.zeros((2, 8)), TIMES, "log_linear")
    assert np.isnan(fit.t2).all()
    with pytest.raises(ValueError, match="two echoes"):
        fit_decay(np.ones((1, 2)), TIMES[:2], skip_first=True)
    with pytest.raises(ValueError, match="evenly"):
        fit_decay(np.ones((1, 4)), [5, 10, 20, 40], "phase_graph")
    with pytest.raises(ValueError, match="unknown"):
        fit_decay(np.ones((1, 4)), [5, 10, 20, 40], "guess")


def images(*arrays):
    return [sitk.GetImageFromArray(np.asarray(a, np.float32)) for a in arrays]


def test_a_qdess_map_uses_each_structures_t1_and_says_why_a_voxel_is_left_out():
    shape, truth = (2, 4, 6), 35.0
    first, second = np.full(shape, 0.0), np.full(shape, 0.0)
    femoral = np.zeros(shape, bool)
    femoral[:, :2], tibial = True, np.zeros(shape, bool)
    tibial[:, 2:] = True
    for mask, t1 in ((femoral, 1200.0), (tibial, 1000.0)):
        one, two = signals(SPOILED, t1, np.array([truth]))
        first[mask], second[mask] = 1000 * one[0], 1000 * two[0]
    second[0, 0, 0] = 3 * first[0, 0, 0]  # no T2 has such a ratio
    first[0, 0, 1] = second[0, 0, 1] = 0
    second[0, 0, 2] = 0.001 * first[0, 0, 2]
    masks = {"femoral_cartilage": femoral, "medial_tibial_cartilage": tibial}
    found = qdess_map(*images(first, second), SPOILED, masks)
    assert [REASONS[r] for r in found.reason[0, 0, :4]] == [
        "above the valid range", "no signal", "below the valid range", "valid",
    ]  # fmt: skip
    assert found.t2[found.reason == 0] == pytest.approx(truth, abs=0.01)
    assert (found.t2[found.reason != 0] == 0).all()
    one_t1 = qdess_map(*images(first, second), SPOILED, masks, T2Options(t1_ms={"medial_tibial_cartilage": 1200.0}))
    assert one_t1.t2[1, 3, 0] != pytest.approx(truth, abs=0.5)


def test_a_spin_echo_map_reports_poor_fits_and_keeps_to_where_it_looks():
    decay = 1000 * np.exp(-TIMES / 40.0)
    echoes = np.tile(decay[:, None, None, None], (1, 1, 2, 3))
    echoes[:, 0, 0, 0] = 1000 * (1 + np.random.default_rng(0).uniform(0, 1, 8))
    within = np.ones((1, 2, 3), bool)
    within[0, 1, 2] = False
    found = spin_echo_map(images(*echoes), list(TIMES), T2Options(valid_ms=(5.0, 1e9)), within)
    assert REASONS[found.reason[0, 0, 0]] in ("poor fit", "no solution")
    assert REASONS[found.reason[0, 1, 2]] == "not looked at"
    assert found.t2[0, 0, 1] == pytest.approx(40.0, rel=1e-4)


def test_the_real_mese_scan(mese_folder):
    scan = read_volume(mese_folder)
    assert scan.info["kind"] == "multi_echo_spin_echo" and len(scan.echoes) == 8
    fits = {m: spin_echo_map(scan.echoes, scan.info["te_ms"], T2Options(spin_echo_method=m))
            for m in ("nonlinear", "log_linear")}  # fmt: skip
    for found in fits.values():
        valid = found.reason == 0
        assert valid.mean() > 0.3
        assert 25 < np.median(found.t2[valid]) < 80
        assert np.median(found.r_squared[valid]) > 0.95
    both = (fits["nonlinear"].reason == 0) & (fits["log_linear"].reason == 0)
    difference = fits["nonlinear"].t2[both] - fits["log_linear"].t2[both]
    assert abs(np.median(difference)) < 1.0


def test_the_real_qdess_scan_knows_its_protocol(qdess_folder):
    info = read_volume(qdess_folder).info
    assert (info["tr_ms"], info["te_ms"], info["flip_deg"]) == (25.0, [7.48, 42.52], 30.0)
    assert (info["spoiler_area"], info["spoiler_us"]) == (3132.0, 1760.0)
