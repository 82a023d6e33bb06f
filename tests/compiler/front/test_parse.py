"""What each construct of the language becomes in the tree, written down by hand in a short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.diagnostics import DiagnosticError, Sink, Source
from compiler.front import tree
from compiler.front.parse import parse, source_from_bytes

DESIGN = Path(__file__).with_name("design_examples.dl")

_TRAIN_WORDS = (
    "data validate test batch epochs steps stop clip seed freeze minimize measure draw over with patience as layer"
)


def parsed(text: str) -> tree.File:
    sink = Sink()
    file = parse(Source("test.dl", text), sink)
    sink.finish()
    assert sink.warnings == []
    return file


def short(value: object) -> str:
    """Names, numbers and texts as they are, other nodes as (Kind field …), what is left out as -."""
    match value:
        case tree.Name(name=name):
            return name
        case tree.Number(value=number, percent=percent):
            return f"{number!r}{' percent' if percent else ''}"
        case tree.String(value=text):
            return repr(text)
        case tree.Boolean(value=truth):
            return f"{truth}"
        case tree.Node():
            fields = [short(getattr(value, field)) for field in type(value).__slots__]
            return f"({' '.join([type(value).__name__, *fields])})"
        case tuple():
            return f"[{' '.join(short(item) for item in value)}]"
        case None:
            return "-"
    return str(value)


def stages(lines: str) -> tuple[tree.Stage, ...]:
    (model,) = parsed(f"model M(x: f32[N]) {{\n{lines}\n}}\n").declarations
    assert isinstance(model, tree.Model)
    return model.body.stages


def expression(text: str) -> str:
    (constant,) = parsed(f"const a = {text}").declarations
    assert isinstance(constant, tree.Const)
    return short(constant.value)


def statement(line: str) -> str:
    (train,) = parsed(f"train t(x: f32[N]) {{ {line} }}").declarations
    assert isinstance(train, tree.Train)
    (only,) = train.statements
    return short(only)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", "3"),
        ("1_000", "1000"),
        ("007", "7"),
        ("9223372036854775807", "9223372036854775807"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("1e-4", "0.0001"),
        ("2E+3", "2000.0"),
        ("1_0.5_0e1_0", "105000000000.0"),
        ("20%", "0.2 percent"),
        ("12.5%", "0.125 percent"),
        ("7 % 2", "(Binary % 7 2)"),
        ("7%2", "(Binary % 7 2)"),
        ("7%n", "(Binary % 7 n)"),
        ("7%(n)", "(Binary % 7 n)"),
        ("20% + 1", "(Binary + 0.2 percent 1)"),
        ("20% if c else 1", "(Conditional c 0.2 percent 1)"),
        ("n%2", "(Binary % n 2)"),
        ("true", "True"),
        ("false", "False"),
        ("same", "same"),
        ("truely", "truely"),
        ("iffy", "iffy"),
        ('""', "''"),
        (r'"a\"b\\c\n\tü\u00e9"', repr('a"b\\c\n\tüé')),
        ('"# no comment -> here"', "'# no comment -> here'"),
    ],
)
def test_literals(text: str, expected: str) -> None:
    assert expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * c", "(Binary + a (Binary * b c))"),
        ("a - b - c", "(Binary - (Binary - a b) c)"),
        ("(a + b) * c", "(Binary * (Binary + a b) c)"),
        ("a @ b // c", "(Binary // (Binary @ a b) c)"),
        ("-a ** 2", "(Unary - (Binary ** a 2))"),
        ("a ** -b ** c", "(Binary ** a (Unary - (Binary ** b c)))"),
        ("- -a", "(Unary - (Unary - a))"),
        ("a - -1", "(Binary - a (Unary - 1))"),
        ("-f(x).y", "(Unary - (Attribute (Call f [x] []) y))"),
        ("a + 1 <= b", "(Compare <= (Binary + a 1) b)"),
        ("a == b and not c != d", "(Logic and (Compare == a b) (Unary not (Compare != c d)))"),
        ("a or b and c", "(Logic or a (Logic and b c))"),
        ("not not a", "(Unary not (Unary not a))"),
        ("a if b else c if d else e", "(Conditional b a (Conditional d c e))"),
        ("(a if b else c) + 1", "(Binary + (Conditional b a c) 1)"),
        ("a or b if c > 1 else d", "(Conditional (Compare > c 1) (Logic or a b) d)"),
        ("x.shape", "(Attribute x shape)"),
        ("a.b.data", "(Attribute (Attribute a b) data)"),
        ("x[0]", "(Index x [0])"),
        ("x[:, 0]", "(Index x [(Slice - - -) 0])"),
        ("x[1:, :-1, ::2, 1:2:3,]", "(Index x [(Slice 1 - -) (Slice - (Unary - 1) -) (Slice - - 2) (Slice 1 2 3)])"),
        ("x[i:j + 1, a::]", "(Index x [(Slice i (Binary + j 1) -) (Slice a - -)])"),
        ("f()", "(Call f [] [])"),
        ("f(a, b,)", "(Call f [a b] [])"),
        ("f(a, k=1, k=2)", "(Call f [a] [(Keyword k 1) (Keyword k 2)])"),
        ("f(data=batch, layer=test)", "(Call f [] [(Keyword data batch) (Keyword layer test)])"),
        ("f(a)(b)", "(Call (Call f [a] []) [b] [])"),
        ("()", None),
        ("(a)", "a"),
        ("((a))", "a"),
        ("(a,)", "(Tuple [a])"),
        ("(a, b)", "(Tuple [a b])"),
        ("(a, (b, c),)", "(Tuple [a (Tuple [b c])])"),
        ("[]", "(List [])"),
        ("[1, [2], (3, 4),]", "(List [1 (List [2]) (Tuple [3 4])])"),
        ("f(a -> g, k=b -> h)", "(Call f [(Chain a [g])] [(Keyword k (Chain b [h]))])"),
        ("(x, y) -> f(a) -> g", "(Chain (Tuple [x y]) [(Call f [a] []) g])"),
        ("a + b -> c * d", "(Chain (Binary + a b) [(Binary * c d)])"),
        ("(a -> b) -> c", "(Chain (Chain a [b]) [c])"),
    ],
)
def test_expressions(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(DiagnosticError):
            expression(text)
    else:
        assert expression(text) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("relu", "(ExpressionStage - relu)"),
        ("stem: conv(64) -> relu", "(ExpressionStage stem (Chain (Call conv [64] []) [relu]))"),
        ("skip = x -> relu", "(Assign [skip] (Chain x [relu]))"),
        ("mean, scale = f(x)", "(Assign [mean scale] (Call f [x] []))"),
        ("layer e = embed(65)", "(Layer e (Call embed [65] []))"),
        ("layer -> relu", "(ExpressionStage - (Chain layer [relu]))"),
        ("layer = x", "(Assign [layer] x)"),
        ("residual = x", "(Assign [residual] x)"),
        ("residual { relu }", "(ExpressionStage - (Residual (Body [(ExpressionStage - relu)])))"),
        ("residual {}", "(ExpressionStage - (Residual (Body [])))"),
        ("add: residual\n  { relu }", "(ExpressionStage add (Residual (Body [(ExpressionStage - relu)])))"),
        ("repeat 4 { relu }", "(ExpressionStage - (Repeat 4 - (Body [(ExpressionStage - relu)])))"),
        (
            "repeat 2 * n as i { f(i) }",
            "(ExpressionStage - (Repeat (Binary * 2 n) i (Body [(ExpressionStage - (Call f [i] []))])))",
        ),
        ("if a > 1 { relu }", "(ExpressionStage - (If (Compare > a 1) (Body [(ExpressionStage - relu)]) -))"),
        (
            "if a { b } else { c }",
            "(ExpressionStage - (If a (Body [(ExpressionStage - b)]) (Body [(ExpressionStage - c)])))",
        ),
        (
            "if a { b }\n\n  # or else\n else if c { d }",
            "(ExpressionStage - (If a (Body [(ExpressionStage - b)])"
            " (Body [(ExpressionStage - (If c (Body [(ExpressionStage - d)]) -))])))",
        ),
        (
            "y = x -> if a { b } -> residual { c } -> repeat 2 { d }",
            "(Assign [y] (Chain x [(If a (Body [(ExpressionStage - b)]) -)"
            " (Residual (Body [(ExpressionStage - c)])) (Repeat 2 - (Body [(ExpressionStage - d)]))]))",
        ),
        ("a\n  -> b\n# note -> this\n\n  -> c", "(ExpressionStage - (Chain a [b c]))"),
        ("a # -> b", "(ExpressionStage - a)"),
        ("f(\n  a,\n\n  # why\n  b\n)", "(ExpressionStage - (Call f [a b] []))"),
        ("data -> batch", "(ExpressionStage - (Chain data [batch]))"),
        ("train = import -> const", "(Assign [train] (Chain import [const]))"),
    ],
)
def test_stages(lines: str, expected: str) -> None:
    (only,) = stages(lines)
    assert short(only) == expected


@pytest.mark.parametrize(
    "lines", ["a\nb", "a; b", "a;\nb;", ";;a\n\n;b\n;", "\n  # c\n  a   # c\n  # c\n\n  b  # c", "a\rb", "a\r\n\tb"]
)
def test_stages_end_with_lines_or_semicolons(lines: str) -> None:
    assert short(stages(lines)) == "[(ExpressionStage - a) (ExpressionStage - b)]"


def test_line_ends_mean_something_again_in_braces_inside_parentheses() -> None:
    (only,) = stages("f(x\n -> residual {\n a\n b\n }\n)")
    assert short(only) == (
        "(ExpressionStage - (Call f [(Chain x [(Residual (Body [(ExpressionStage - a) (ExpressionStage - b)]))])] []))"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a = x -> f", "(Assign [a] (Chain x [f]))"),
        ("a, b = f(x)", "(Assign [a b] (Call f [x] []))"),
        ("minimize mse(a, b) with adam", "(Minimize (Call mse [a b] []) [] adam -)"),
        (
            "minimize a -> f over A, B.c.d with sgd(1)",
            "(Minimize (Chain a [f]) [A B.c.d] (Call sgd [1] []) -)",
        ),
        ("measure accuracy(a)", "(Measure [(Call accuracy [a] [])])"),
        ("measure f(a), top = g(a)", "(Measure [(Call f [a] []) (Keyword top (Call g [a] []))])"),
        ('data "digits.npz"', "(Data 'digits.npz')"),
        ("validate 20%", "(Validate 0.2 percent -)"),
        ('validate "held_out.npz"', "(Validate 'held_out.npz' -)"),
        ("test 1 / 10", "(Test (Binary / 1 10))"),
        ("batch 64", "(Setting batch 64)"),
        ("epochs 30", "(Setting epochs 30)"),
        ("steps 10_000", "(Setting steps 10000)"),
        ("stop val.accuracy patience 5", "(Stop (Attribute val accuracy) 5)"),
        ("stop loss", "(Stop loss -)"),
        ("clip_value 0.5", "(Setting clip_value 0.5)"),
        ("average 0.99", "(Setting average 0.99)"),
        ("keep 3", "(Setting keep 3)"),
        ("minimize a with adam every 2 * k", "(Minimize a [] adam (Binary * 2 k))"),
        ("freeze Net.block*.conv, *, Net.body.0.*", "(Freeze [Net.block*.conv * Net.body.0.*])"),
        ("clip 1.0", "(Setting clip 1.0)"),
        ("seed 0", "(Setting seed 0)"),
        ("draw fake, rebuilt = Decoder(code)", "(Draw [fake (Keyword rebuilt (Call Decoder [code] []))])"),
        ("freeze VGG.body, Embedding", "(Freeze [VGG.body Embedding])"),
    ],
)
def test_train_statements(line: str, expected: str) -> None:
    assert statement(line) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('import "blocks.dl"', "[(Import 'blocks.dl' -)]"),
        ('import "vgg16.onnx" as VGG16', "[(Import 'vgg16.onnx' VGG16)]"),
        ("import std.transformer", "[(Import (ModuleName [std transformer]) -)]"),
    ],
)
def test_imports(text: str, expected: str) -> None:
    assert short(parsed(text).imports) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("const c = [1, 2]", "(Const c (List [1 2]) -)"),
        ("block B() {}", "(Block B [] [] (Body []))"),
        (
            "block B(x: [N, 4 * D], mask: bool[N], n, k=3,) { relu }",
            "(Block B [(Parameter x (TypeExpression - [(Dimension N - -) (Dimension (Binary * 4 D) - -)]) -)"
            " (Parameter mask (TypeExpression bool [(Dimension N - -)]) -) (Parameter n - -) (Parameter k - 3)]"
            " [] (Body [(ExpressionStage - relu)]))",
        ),
        (
            "model M(x: f32[N, T <= 64], y: f32[]) -> f32[N, 2 * T - 1,] { x }",
            "(Model M [(Parameter x (TypeExpression f32 [(Dimension N - -) (Dimension T - 64)]) -)"
            " (Parameter y (TypeExpression f32 []) -)]"
            " [(Output - (TypeExpression f32 [(Dimension N - -) (Dimension (Binary - (Binary * 2 T) 1) - -)]))]"
            " (Body [(ExpressionStage - x)]))",
        ),
        (
            "model M(x: f32[N])\n  -> (mean: f32[N], scale: [N],)\n{\n}",
            "(Model M [(Parameter x (TypeExpression f32 [(Dimension N - -)]) -)]"
            " [(Output mean (TypeExpression f32 [(Dimension N - -)]))"
            " (Output scale (TypeExpression - [(Dimension N - -)]))]"
            " (Body []))",
        ),
        (
            "train t(a: i64[N]) {\n\n seed 1; batch 2\n}",
            "(Train t [(Parameter a (TypeExpression i64 [(Dimension N - -)]) -)] [(Setting seed 1) (Setting batch 2)])",
        ),
    ],
)
def test_declarations(text: str, expected: str) -> None:
    (only,) = parsed(text).declarations
    assert short(only) == expected


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "\n\n# c\n\n", ";"])
def test_files_without_declarations(text: str) -> None:
    file = parsed(text)
    assert (file.imports, file.declarations) == ((), ())
    assert (file.span.start, file.span.end) == (0, len(text))


def test_words_of_train_blocks_are_names_elsewhere() -> None:
    for word in _TRAIN_WORDS.split():
        assert expression(f"{word} + {word}({word}={word}).{word}") == (
            f"(Binary + {word} (Attribute (Call {word} [] [(Keyword {word} {word})]) {word}))"
        )
        (only,) = stages(f"{word} = x")
        assert short(only) == f"(Assign [{word}] x)"


def test_spans_cover_what_was_written() -> None:
    (labelled, assigned) = stages("stem: (a + b) * -c[0] -> f(k=(1))  # c\n  y = x\n    -> g")
    assert isinstance(labelled, tree.ExpressionStage)
    assert labelled.span.text == "stem: (a + b) * -c[0] -> f(k=(1))"
    chain = labelled.value
    assert isinstance(chain, tree.Chain)
    product, call = chain.first, chain.steps[0]
    assert isinstance(product, tree.Binary)
    assert isinstance(call, tree.Call)
    assert [node.span.text for node in (chain, product, product.left, product.right, call, call.keywords[0])] == [
        "(a + b) * -c[0] -> f(k=(1))", "(a + b) * -c[0]", "(a + b)", "-c[0]", "f(k=(1))", "k=(1)",
    ]  # fmt: skip
    assert assigned.span.text == "y = x\n    -> g"


def test_every_node_lies_in_its_parent() -> None:
    source = source_from_bytes("design.dl", DESIGN.read_bytes())
    sink = Sink()
    waiting: list[tree.Node] = [parse(source, sink)]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        for field in type(node).__slots__:
            value = getattr(node, field)
            for child in value if isinstance(value, tuple) else (value,):
                if isinstance(child, tree.Node):
                    assert node.span.start <= child.span.start < child.span.end <= node.span.end
                    waiting.append(child)
    assert seen > 400


def test_the_examples_of_the_design_parse() -> None:
    file = parsed(DESIGN.read_text(encoding="utf-8"))
    assert [f"{type(one).__name__} {one.name.name}" for one in file.declarations] == [
        "Const classes", "Block ConvUnit", "Model Digits", "Train digits", "Block Transformer", "Model GPT",
        "Block Basic", "Train gan", "Model Flowers", "Train flowers",
    ]  # fmt: skip
    assert [short(one) for one in file.imports] == ["(Import 'vgg16.onnx' VGG16)"]
    digits = file.declarations[3]
    assert isinstance(digits, tree.Train)
    assert short(digits.statements[1]) == (
        "(Minimize (Binary + (Call cross_entropy [logits label] []) (Binary * 0.0001 (Call l2 [Digits] []))) []"
        " (Call adam [] [(Keyword lr (Call cosine [0.003] []))]) -)"
    )


def test_a_byte_order_mark_is_dropped() -> None:
    source = source_from_bytes("bom.dl", b"\xef\xbb\xbfconst a = 1\r\n")
    assert source.text == "const a = 1\r\n"
    sink = Sink()
    assert len(parse(source, sink).declarations) == 1
    assert sink.errors == []
