"""Rows of the matrix products."""

from support.rule_cases import at, case, w, x

RANKS = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((3,), (2, 3, 4)),
    ((2, 5, 3), (3,)),
    ((2, 5, 3), (3, 4)),
    ((5, 3), (2, 3, 4)),
    ((2, 5, 3), (2, 3, 4)),
    ((2, 1, 5, 3), (6, 3, 4)),
    ((1, 5, 3), (2, 3, 4)),
    ((2, 6, 5, 3), (2, 1, 3, 4)),
]

EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("bij,bkj->bik", (2, 3, 4), (2, 5, 4)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("ij->ji", (2, 3)),
    ("ij->i", (2, 3)),
    ("ij->", (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("i,i->", (3,), (3,)),
    ("ij,ij,j->i", (2, 3), (2, 3), (3,)),
    ("ij,k->k", (2, 3), (4,)),
    ("abc,cd,def->abef", (2, 3, 4), (4, 5), (5, 2, 3)),
    (" b i j , j k -> b i k ", (2, 3, 4), (4, 5)),
    ("ba", (2, 3)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("bii,ij->bj", (2, 3, 3), (3, 4)),
    ("iji->j", (3, 2, 3)),
    ("...ij,...jk->...ik", (2, 5, 3, 4), (2, 5, 4, 2)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (1, 5, 4, 2)),
    ("...ij,jk", (2, 3, 4), (4, 5)),
    ("...i->...", (2, 3, 4)),
]

CASES = [
    *(case("MatMul", x(*a), x(*b)) for a, b in RANKS),
    *(case("MatMul", x(*a), w(*b)) for a, b in RANKS[3:8]),
    case("MatMul", w(4, 3), x(3, 2), label="right-active"),
    *(
        case(
            "Gemm", x(*((3, 2) if ta else (2, 3))), x(*((4, 3) if tb else (3, 4))), x(4), transA=ta, transB=tb
        )
        for ta in (0, 1)
        for tb in (0, 1)
    ),
    case("Gemm", x(2, 3), w(3, 4)),
    case("Gemm", x(2, 3), w(4, 3), w(4), transB=1),
    case("Gemm", x(2, 3), x(3, 4), x(2, 1), alpha=0.5, beta=-2.0),
    case("Gemm", x(2, 3), x(3, 4), x(), alpha=0.5, beta=-2.0),
    case("Gemm", x(2, 3), x(3, 4), x(2, 4), beta=0.0),
    *(case("Einsum", *(x(*shape) for shape in shapes), equation=equation) for equation, *shapes in EINSUMS),
    case("Einsum", x(2, 3), w(3, 4), equation="ij,jk->ik"),
    case("Det", x(3, 3)),
    case("Det", x(2, 1, 4, 4)),
    case("Det", x(3, 2, 2)),
    case("Det", x(2, 1, 1)),
    case("Det", at([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), label="singular"),
    case("Det", at([[[0, 2, 1], [0, 3, 1], [0, 1, 1]], [[1, 1, 1], [2, 2, 2], [0, 1, 3]]]), label="singular"),
]
