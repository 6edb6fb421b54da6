# %% [markdown]
# # From a model to a decision
#
# A device with a battery is to answer questions by LLaMA-2-7B in ternary weights: prompts of 512 tokens, answers of
# 128, no more than 2 W on average. Which array, which memory, and how many users at once? Ten cells from the model's
# dimensions to one design, with the ranges on which the choice rests. No weights are needed; `tritforge notebook`
# writes this file and executes it again.

# %% [markdown]
# ## 1. The model
#
# Shapes come from a file with its source, and the parameters that they imply are those published.

# %%
import pandas as pd
from IPython.display import SVG

from quant.shapes import load_shape

pd.options.display.float_format = "{:.3g}".format
pd.options.display.width = 120
model = load_shape("llama2-7b")
assert model.total_parameters == 6_738_415_616
pd.Series({name: getattr(model, name) for name in ("layers", "hidden_size", "heads", "kv_heads", "total_parameters")})

# %% [markdown]
# ## 2. One machine
#
# 32 x 32 accumulating lanes at 1 GHz, one LPDDR5-6400 package, K and V in 8 bits: every GEMM,
# softmax and norm of both phases, cycle by cycle.

# %%
from energy.job import Job

job = Job(model=model.name, array="edge-32x32-balanced", memory="lpddr5-6400", prefill=512, decode=128, kv_bits=8)
result = job.simulate(model, job.load_array())
pd.DataFrame({phase.name: {"seconds": result.seconds(phase), "tokens": phase.tokens} for phase in result.phases}).T

# %% [markdown]
# ## 3. Where the time goes
#
# Cycles by cause sum to the whole, per phase.

# %%
causes = pd.DataFrame({phase.name: phase.causes for phase in result.phases})
share = 100 * causes / causes.sum()
share[share.max(axis=1) > 0.05].rename_axis("per cent of cycles")

# %% [markdown]
# ## 4. Rivals of the same silicon area
#
# INT8, FP16 and INT8 with 2-bit weights, each as large as ternary's array and buffers.

# %%
from energy.job import Rivals, simulate_machines

rivals = Rivals(rivals="int8,fp16,w2a8", hold="area", rival_bus="balanced")
summary, _ = simulate_machines(job, model, rivals=rivals)
prefills, decodes = ([one.phase(name) for one in summary.machines] for name in ("prefill", "decode"))
columns = {
    "array": [one.size for one in summary.machines],
    "first token, s": [one.seconds for one in prefills],
    "tokens/s": [one.tokens_per_s for one in decodes],
    "mJ per token": [1e3 * one.total_j_per_token.typical for one in decodes],
}
pd.DataFrame(columns, index=[one.mac for one in summary.machines])

# %% [markdown]
# ## 5. The verdict on this machine
#
# In words made of those numbers: losses are said as plainly as wins.

# %%
from energy.reports.verdict import plain, verdict

print(plain(verdict(summary)).replace(". ", ".\n").replace("; ", ";\n  "))

# %% [markdown]
# ## 6. What if
#
# Other arrays, memories and numbers of users; the limits of the device are constraints. A combination
# that does not meet one stays in the frame, with its reason.

# %%
from energy.study.document import Study
from energy.study.engine import run_study

study = Study(
    name="battery",
    description="Which machine answers by LLaMA-2-7B fastest, and with the least energy, within 2 W?",
    base=job.model_dump(exclude_unset=True),
    axes={
        "array": ["edge-32x32-balanced", "64x32", "mobile-64x64"],
        "memory": ["lpddr4x-4266", "lpddr5-6400", "hbm2-2000"],
        "batch": [1, 2, 4, 8],
    },
    constraints=["power_w <= 2", "first_token_s <= 5"],
    minimize=["user_s_per_token", "decode_j_per_token"],
)
studied = run_study(study, "notebook")
frame = pd.DataFrame([point.values | {"reason": point.reason} | point.metrics for point in studied.points])
reasons = frame.reason.fillna("can be built").str.partition(" is not met")[0]
groups = frame.groupby(reasons.rename(None))
least = groups[["user_s_per_token", "decode_j_per_token", "power_w"]].min()
least.assign(points=groups.size())

# %% [markdown]
# ## 7. The Pareto front
#
# Of what a user waits per token, and the energy that it takes with low, typical and high costs.

# %%
front = frame[[point.pareto for point in studied.points]].sort_values("user_s_per_token")
energies = {f"decode_j_per_token{end}": name for end, name in (("_low", "J, low"), ("", "J"), ("_high", "J, high"))}
front[[*study.columns, "user_s_per_token", *energies, "power_w", "area_mm2"]].rename(columns=energies)

# %% [markdown]
# ## 8. The picture
#
# The front as a line; the designs worth building by their letters, with the range from low to high costs.

# %%
from energy.reports.pages.study import study_picture

SVG(study_picture(studied))

# %% [markdown]
# ## 9. Two designs, term by term
#
# What makes the design of the least energy differ from the fastest one: every term
# is a count times a cost, and the terms sum to the difference.

# %%
from energy.costs.sources import load_source
from energy.designs import Design
from energy.difference import difference_of
from energy.reports.difference import difference_sentences, difference_verdict
from energy.reports.pages.difference import waterfall_of
from energy.reports.pages.document import standalone


def design_of(name, row):
    """The machine of a row of the frame, simulated once more with its costs."""
    one = Job(**job.model_dump(exclude_unset=True) | {axis: row[axis] for axis in study.columns})
    return Design(name, one.simulate(model, one.load_array()), load_source(one.costs), True, name)


difference = difference_of(design_of("fastest", front.iloc[0]), design_of("least energy", front.iloc[-1]))
print(difference_verdict(difference), *difference_sentences(difference), sep="\n")
SVG(standalone(waterfall_of(difference, "decode", difference.phases[-1].energy)))

# %% [markdown]
# ## 10. The decision
#
# With what each design gives up, and which of them the ranges of the costs cannot tell apart.

# %%
from textwrap import fill

from energy.reports.answer import answer, designs_text

print(*(fill(one, 110) for one in (answer(studied), *designs_text(studied))), sep="\n")
