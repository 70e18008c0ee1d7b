"""What the host runs: every family's kernels and the small bodies CuPy would wrap."""

from __future__ import annotations

from lucid.backends.cupy.sources import inlined

HEADERS = {
    "Normal": "normal",
    "Laplace": "laplace",
    "StudentT": "student_t",
    "Gamma": "gamma",
    "Poisson": "poisson",
    "Bernoulli": "bernoulli",
    "Uniform": "uniform",
}
PARAMETERS = {
    "Normal": ("loc", "scale"),
    "Laplace": ("loc", "scale"),
    "StudentT": ("df", "loc", "scale"),
    "Gamma": ("concentration", "rate"),
    "Poisson": ("rate",),
    "Bernoulli": ("logits",),
    "Uniform": ("low", "high"),
}
# Values of T in a component's factors, as kernels/README.md lists them.
WORDS = {
    "Normal": 2,
    "Laplace": 2,
    "StudentT": 4,
    "Gamma": 6,
    "Poisson": 4,
    "Bernoulli": 2,
    "Uniform": 2,
}
TYPES = {"float32": "float", "float64": "double"}

_FRAME = """#include "server.hpp"
#include "elementwise.cuh"
#include "mixture.cuh"
#include "mixture_diagonal.cuh"
#include "mixture_fixed.cuh"
#include "mixture_order.cuh"
#include "mixture_rows.cuh"
#include "mixture_small.cuh"
#include "mixture_mode.cuh"
#include "draw.cuh"
"""

# One thread a pair: what CuPy's elementwise and reduction kernels do with the bodies.
_BODIES = """
static void log_prob_{name}(const {T}* p0, const {T}* p1, const {T}* p2, const {T}* x,
                            {T}* out) {{
  const long long i = threadIdx.x + blockIdx.x * blockDim.x;
  {unused}
  out[i] = lucid::log_prob(lucid::{family}<{T}>{{{first}}}, x[i]);
}}
ENROLL(log_prob_{name});
static void per_row_{name}(const {T}* p0, const {T}* p1, const {T}* p2,
                           const {T}* log_weights, const {T}* x, {T}* out, long long K,
                           long long D) {{
  const long long i = threadIdx.x + blockIdx.x * blockDim.x, start = i * K * D;
  lucid::LogSumExp<{T}> even, odd;
  for (long long k = 0; k < K; ++k) {{
    auto& state = k % 2 ? odd : even;
    const {T}* p[3] = {{p0, p1, p2}};
    for (auto& q : p) q = q ? q + start + k * D : q;
    state = lucid::merge(state, lucid::component<lucid::{family}>(
        x + i * D, D, p[0], 1, p[1], 1, p[2], 1, log_weights[i * K + k]));
  }}
  out[i] = lucid::merge(even, odd).log();
}}
ENROLL(per_row_{name});
static_assert(sizeof(lucid::{family}<{T}>::Factors) == {words} * sizeof({T}), "packed");
"""


def _family(family: str, T: str) -> str:
    name = f"{family}_{T}"
    count = len(PARAMETERS[family])
    unused = "".join(f"(void)p{i}; " for i in range(count, 3))
    first = ", ".join(f"p{i}[i]" for i in range(count))
    bodies = _BODIES.format(
        name=name, T=T, family=family, unused=unused, first=first, words=WORDS[family]
    )
    entries = {
        f"prepare_{name}": f"LUCID_PREPARE(%s, {family}, {T}, {T})",
        f"mixture_{name}": f"LUCID_MIXTURE(%s, {family}, {T}, 1, 2)",
        f"fixed_{name}": f"LUCID_MIXTURE_FIXED(%s, {family}, {T}, 1, 2, 2)",
        f"small3_{name}": f"LUCID_MIXTURE_SMALL(%s, {family}, {T}, 3)",
        f"merge_{name}": f"LUCID_MIXTURE_MERGE(%s, {family}, {T})",
        f"diagonal_{name}": f"LUCID_MIXTURE_DIAGONAL(%s, {family}, {T})",
        f"mode_{name}": f"LUCID_MIXTURE_MODE(%s, {family}, {T})",
        f"draw_{name}": f"LUCID_DRAW(%s, {family}, {T}, {T})",
        f"rows2_{name}": f"LUCID_MIXTURE_ROWS(%s, {family}, {T}, {T}, {T}, 2)",
    }
    if family == "Normal":
        for lanes in (1, 32, 256) if T == "float" else ():
            rows = f"LUCID_MIXTURE_ROWS(%s, {family}, {T}, {T}, {T}, {lanes})"
            entries[f"rows{lanes}_{name}"] = rows
        entries[f"mixture8_{name}"] = f"LUCID_MIXTURE(%s, {family}, {T}, 1, 8)"
        for count in (1, 16):
            small = f"LUCID_MIXTURE_SMALL(%s, {family}, {T}, {count})"
            entries[f"small{count}_{name}"] = small
        entries[f"fixed8_{name}"] = f"LUCID_MIXTURE_FIXED(%s, {family}, {T}, 1, 8, 2)"
        entries[f"fixed_ex2_{name}"] = (
            f"LUCID_MIXTURE_FIXED(%s, {family}, {T}, 1, 4, 0)"
        )
        entries[f"fixed_event3_{name}"] = (
            f"LUCID_MIXTURE_FIXED(%s, {family}, {T}, 3, 4, 0)"
        )
        entries[f"order_{name}"] = f"LUCID_MIXTURE_ORDER(%s, {family}, {T})"
        entries[f"mixture_event3_{name}"] = f"LUCID_MIXTURE(%s, {family}, {T}, 3, 4)"
    return bodies + _entries(entries)


def _entries(entries: dict[str, str]) -> str:
    return "".join(f"{text % n}\nENROLL({n});\n" for n, text in entries.items())


def _families(*families: str, T: str) -> str:
    headers = "".join(f'#include "families/{HEADERS[f]}.cuh"\n' for f in families)
    return _FRAME + headers + "".join(_family(f, T) for f in families)


def _others() -> str:
    entries = {"draw_index": "LUCID_DRAW_INDEX(%s)"}
    for T in TYPES.values():
        for kernel, types in (("MIXTURE", T), ("MODE", T), ("DRAW", f"{T}, {T}")):
            macro = f"LUCID_{kernel}_MULTIVARIATE_NORMAL(%s, {types})"
            entries[f"{kernel.lower()}_MultivariateNormal_{T}"] = macro
        entries |= {
            f"prepare_MultivariateNormal_{T}": (
                f"LUCID_PREPARE_MULTIVARIATE_NORMAL(%s, {T})"
            ),
            f"merge_MultivariateNormal_{T}": f"LUCID_MERGE_PARTIALS(%s, {T})",
            f"categorical8_{T}": f"LUCID_CATEGORICAL_LOG_PROB(%s, {T}, {T}, 8)",
            f"categorical256_{T}": f"LUCID_CATEGORICAL_LOG_PROB(%s, {T}, {T}, 256)",
            f"shift_{T}": f"LUCID_MIXTURE_SHIFT(%s, {T})",
        }
    extra = """
static void philox(const lucid::Word* counters, lucid::Word* words, long long seed,
                   long long stream) {
  const auto found =
      lucid::philox4x64({{counters[0], counters[1], counters[2], counters[3]}}, seed,
                        stream);
  for (int i = 0; i < 4; ++i) words[i] = found[i];
}
ENROLL(philox);
static void find_index(const lucid::Word* cumulative, const int* guide, long long K,
                       long long G, const lucid::Word* words, long long* index) {
  const lucid::IndexTable table{cumulative, guide, 1, K, G};
  index[threadIdx.x] = table.find(0, words[threadIdx.x]);
}
ENROLL(find_index);
static void special(const double* x, double* stirling, double* half_ratio,
                    float* stirling32, float* half_ratio32) {
  const int i = threadIdx.x;
  stirling[i] = lucid::stirlerr(x[i]);
  half_ratio[i] = lucid::log_gamma_half_ratio(x[i]);
  stirling32[i] = lucid::stirlerr(float(x[i]));
  half_ratio32[i] = lucid::log_gamma_half_ratio(float(x[i]));
}
ENROLL(special);
static void halves(const unsigned short* bits, float* values) {
  values[threadIdx.x] = reinterpret_cast<const lucid::Half*>(bits)[threadIdx.x];
}
ENROLL(halves);
"""
    headers = '#include "mixture_multivariate_normal.cuh"\n#include "categorical.cuh"\n'
    return _FRAME + headers + _entries(entries) + extra


def fixed_unit() -> str:
    """Normal's fixed shift alone, with its headers' text in place: to be broken."""
    text = inlined("families/normal.cuh", "mixture_fixed.cuh", "prepare.cuh")
    entries = {
        "prepare_Normal_float": "LUCID_PREPARE(%s, Normal, float, float)",
        "fixed_Normal_float": "LUCID_MIXTURE_FIXED(%s, Normal, float, 1, 2, 2)",
        "shift_float": "LUCID_MIXTURE_SHIFT(%s, float)",
    }
    return '#include "server.hpp"\n' + text + _entries(entries)


def sources() -> tuple[str, ...]:
    """One translation unit each, of about equal size."""
    light = ("Normal", "Laplace", "Uniform", "Bernoulli")
    heavy = ("StudentT", "Gamma", "Poisson")
    units = [_families(*group, T=T) for group in (light, heavy) for T in TYPES.values()]
    return (*units, _others())
