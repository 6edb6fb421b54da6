"""Multi-operand addition by 3:2 compressors: bits of equal weight are reduced to two rows, then added once.

Ref: C. S. Wallace, "A Suggestion for a Fast Multiplier", IEEE Trans. EC-13, 1964; L. Dadda, Alta Frequenza 34, 1965.
"""

from amaranth import Cat, Const, Instance, Module, Signal, Value

__all__ = ["FULL_ADDER", "FULL_ADDER_VERILOG", "add_rows", "compress", "merge", "products"]

FULL_ADDER = "full_adder"  # module name that synthesis replaces by a library's adder cell or by gates
FULL_ADDER_VERILOG = """module full_adder (a, b, c, s, co);
  input a, b, c;
  output s, co;
  wire p = a ^ b;
  assign s = p ^ c;
  assign co = (a & b) | (p & c);
endmodule
"""


def compress(m: Module, columns: list[list[Value]], name: str) -> list[list[Value]]:
    """Reduce ``columns[i]`` (bits of weight 2**i) until no column holds more than two; full adders are instances."""
    stage = 0
    while max(len(column) for column in columns) > 2:
        reduced: list[list[Value]] = [[] for _ in range(len(columns) + 1)]
        for weight, column in enumerate(columns):
            position = 0
            while len(column) - position >= 3:
                total, carry = _full_adder(m, *column[position : position + 3], f"{name}_{stage}_{weight}_{position}")
                reduced[weight].append(total)
                reduced[weight + 1].append(carry)
                position += 3
            reduced[weight].extend(column[position:])
        columns = reduced if reduced[-1] else reduced[:-1]
        stage += 1
    return columns


def add_rows(m: Module, columns: list[list[Value]], width: int, name: str) -> Value:
    """Ripple addition of columns of at most two bits; ``width`` bits of the sum."""
    carry: Value = Const(0, 1)
    total = []
    for weight in range(width):
        bits = columns[weight] if weight < len(columns) else []
        operands = [*bits, carry]
        constant = isinstance(carry, Const)
        if len(bits) == 2 and not constant:
            bit, carry = _full_adder(m, *operands, f"{name}_{weight}")
        elif len(bits) == 2:
            bit, carry = bits[0] ^ bits[1], bits[0] & bits[1]
        elif len(bits) == 1 and not constant:
            bit, carry = bits[0] ^ carry, bits[0] & carry
        else:
            bit, carry = (bits[0] if bits else carry), Const(0, 1)
        total.append(bit)
    return Cat(*total)


def products(a: Value, b: Value, signed: bool) -> tuple[list[list[Value]], int]:
    """Columns of partial products of ``a * b``, and the constant that completes their sum.

    Signed by inverting the products of a sign bit, so that every column counts upwards.
    Ref: C. R. Baugh and B. A. Wooley, "A Two's Complement Parallel Array Multiplication Algorithm", IEEE Trans.
    C-22, 1973.
    """
    n, k = len(a), len(b)
    columns: list[list[Value]] = [[] for _ in range(n + k - 1)]
    for i in range(n):
        for j in range(k):
            bit = a[i] & b[j]
            columns[i + j].append(~bit if signed and (i == n - 1) != (j == k - 1) else bit)
    return columns, (2 ** (n - 1) + 2 ** (k - 1) - 2 ** (n + k - 1)) if signed else 0


def merge(parts: list[list[list[Value]]]) -> list[list[Value]]:
    """The columns of several summands as one."""
    width = max(len(part) for part in parts)
    return [[bit for part in parts if i < len(part) for bit in part[i]] for i in range(width)]


def _full_adder(m: Module, a: Value, b: Value, c: Value, name: str) -> tuple[Value, Value]:
    if any(isinstance(bit, Const) for bit in (a, b, c)):
        return a ^ b ^ c, (a & b) | (c & (a | b))
    total, carry = Signal(name=f"{name}_s"), Signal(name=f"{name}_c")
    m.submodules += Instance(FULL_ADDER, i_a=a, i_b=b, i_c=c, o_s=total, o_co=carry)
    return total, carry
