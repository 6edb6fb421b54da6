"""A LLaMA stepped token by token over a quantized cache, head by head, in plain loops: the judge of ``quant.kv``.

Each layer keeps lists: what is quantized is appended when its time has come and never touched again.
"""

import torch

import hw.golden


def digits(x, limit):
    """A vector as the array keeps it: integers and a scale of 12 significant bits."""
    scale = float(x.abs().max()) / limit
    if scale == 0:
        return torch.zeros_like(x), 0.0
    kept = scale
    exponent = 0
    while kept >= 4096:
        kept, exponent = kept / 2, exponent + 1
    while kept < 2048:
        kept, exponent = kept * 2, exponent - 1
    return torch.tensor([round(float(v) / scale) for v in x]).double(), float(round(kept)) * 2.0**exponent


def int8(x):
    """A vector's values after rounding to int8 with one scale."""
    scale = float(x.abs().max()) / 127
    return torch.tensor([round(float(v) / scale) for v in x]).double() * scale


def asymmetric(x, bits):
    """A group's values after rounding to 2**bits levels between its extremes, which are kept in half precision."""
    low, high = x.min(), x.max()
    scale = ((high - low) / (2**bits - 1)).half().float()
    low = low.half().float()
    return torch.stack([torch.round((v - low) / scale).clamp(0, 2**bits - 1) * scale + low for v in x])


def by_channels(x, bits, group):
    """One token's vector, channels in groups."""
    return torch.cat([asymmetric(part, bits) for part in x.split(group)])


class NaiveHead:
    """K and V of one KV head: quantized ones, and the newest in full precision."""

    def __init__(self, form):
        self.form = form
        self.keys, self.values, self.value_scales = [], [], []
        self.full_keys, self.full_values = [], []

    def attend(self, queries, key, value, scaling):
        """The next token: queries of its heads, its own K and V -> outputs."""
        form = self.form
        if form.rotate:
            block = hw.golden.hadamard_block(len(key))
            turn = lambda x: torch.from_numpy(hw.golden.hadamard(x.numpy())) * block**-0.5  # noqa: E731
            queries, key = [turn(q) for q in queries], turn(key)
        self.full_keys.append(key)
        self.full_values.append(value)
        if not form.past_only and not form.residual:
            self._quantize_all()
        found = [self._output(q, scaling) for q in queries]
        if form.past_only:
            self._quantize_all()
        if form.residual:
            self._quantize_old()
        return found

    def _output(self, query, scaling):
        rounded = int8(query) if self.form.limits else query
        scores = [torch.dot(rounded, k) for k in self.keys] + [torch.dot(query, k) for k in self.full_keys]
        chances = torch.softmax(torch.stack(scores) * scaling, 0)
        output = torch.zeros_like(query)
        old = chances[: len(self.values)]
        if self.form.limits and len(old):
            weights = old * torch.tensor(self.value_scales).double()
            step = float(weights.max()) / self.form.levels
            for weight, v in zip(weights, self.values, strict=True):
                output += round(float(weight) / step) * step * v
        else:
            for chance, v in zip(old, self.values, strict=True):
                output += chance * v
        for chance, v in zip(chances[len(self.values) :], self.full_values, strict=True):
            output += chance * v
        return output

    def _quantize_all(self):
        form = self.form
        for key, value in zip(self.full_keys, self.full_values, strict=True):
            if form.limits:
                k, scale = digits(key, form.limits[0])
                self.keys.append(k * scale)
                v, scale = digits(value, form.limits[1])
                self.values.append(v)
                self.value_scales.append(scale)
            else:
                group = form.group or len(key)
                self.keys.append(by_channels(key, form.bits, group))
                self.values.append(by_channels(value, form.bits, group))
        self.full_keys, self.full_values = [], []

    def _quantize_old(self):
        """KIVI: K once a whole residual is full, V the oldest token beyond the residual."""
        form = self.form
        if len(self.full_keys) == form.residual:
            block = torch.stack(self.full_keys)
            for part in block.split(form.group):
                rows = torch.stack([asymmetric(channel, form.bits) for channel in part.T]).T
                self.keys += list(rows)
            self.full_keys = []
        if len(self.full_values) > form.residual:
            self.values.append(by_channels(self.full_values.pop(0), form.bits, form.group))


class NaiveDecoder:
    """One sequence of a LLaMA without biases, in float64, so that hardly any value is near a tie of its rounding."""

    def __init__(self, model, form, int8):
        self.model, self.int8, self.position = model, int8, 0
        self.caches = [[NaiveHead(form) for _ in range(model.config.num_key_value_heads)] for _ in model.model.layers]

    def step(self, token):
        """Logits after the next token, ``(vocabulary,)``."""
        inner = self.model.model
        hidden = inner.embed_tokens.weight[token]
        for layer, caches in zip(inner.layers, self.caches, strict=True):
            hidden = hidden + self._attention(layer.self_attn, layer.input_layernorm(hidden), caches)
            x = layer.post_attention_layernorm(hidden)
            gate, up = self._linear(layer.mlp.gate_proj, x), self._linear(layer.mlp.up_proj, x)
            hidden = hidden + self._linear(layer.mlp.down_proj, torch.nn.functional.silu(gate) * up)
        self.position += 1
        return inner.norm(hidden) @ self.model.lm_head.weight.T

    def _attention(self, attention, x, caches):
        d = attention.head_dim
        q, k, v = (self._linear(one, x).split(d) for one in (attention.q_proj, attention.k_proj, attention.v_proj))
        q, k = [self._turned(head) for head in q], [self._turned(head) for head in k]
        share = len(q) // len(k)
        outputs = []
        for number, cache in enumerate(caches):
            heads = q[number * share : (number + 1) * share]
            outputs += cache.attend(heads, k[number], v[number], d**-0.5)
        return self._linear(attention.o_proj, torch.cat(outputs))

    def _turned(self, head):
        """RoPE on halves."""
        half = len(head) // 2
        cos, sin = (table[0, 0, :half] for table in self.model.model.rotary_emb(head, torch.tensor([[self.position]])))
        first, second = head[:half], head[half:]
        return torch.cat((first * cos - second * sin, second * cos + first * sin))

    def _linear(self, linear, x):
        return linear.weight @ (int8(x) if self.int8 else x)
