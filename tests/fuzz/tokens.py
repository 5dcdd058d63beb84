"""Lists the words and bytes that have a meaning in each format, for writing them into damaged files."""

from __future__ import annotations

_TWICE, _DEEP, _LISTS = b")" + b"2\x86" * 60, b")" + b"\x85" * 100_000, b"]" + b"q\xfa0(h\xfah\xfal" * 60
PICKLE = (
    *(
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"\x8c\x02os\x8c\x06system\x93",
        b"X\x04\0\0\0true\x85R",
        b"(i__main__\nx\n",
    ),
    *(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"C\x01b\x87R", b"0" * 50),
    *(
        b"r\xff\xff\xff\x7f",
        b"\x8e" + b"\xff" * 7 + b"\x7f",
        b"\x96" + b"\xff" * 5 + b"\0\0\0",
        b"\x8d" + b"\xff" * 4 + b"\0" * 4,
    ),
    *(
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nempty\n",
        b"ctorch\nload\n",
        b"(",
        b"t",
        b"R",
        b"b",
        b"Q",
        b".",
        b"2" * 500,
    ),
    # values without an end: tuples and lists that hold the last one twice, or are too deep; used as a name, thrown away
    *(start + value + end for value in (_TWICE, _DEEP, _LISTS) for start, end in ((b"}", b"K\x01s0"), (b"", b"0"))),
    *(b"(" + value + b"\x910" for value in (_TWICE, _DEEP)),
)
SHAPES = (
    b"[4294967295, 4294967295]",
    b"(1099511627776,)",
    b"'|O'",
    b"'<f8'",
    b"'fortran_order': True",
    b'"shape":[]',
    b'"F64"',
)
YAML = (
    *(
        b"!!python/object/apply:os.system ['true']",
        b"!!python/name:os.system",
        b"&a [*a]",
        b"*a",
        b"<<: ",
        b"? ",
        b"- ",
        b"!!binary x",
    ),
    *(
        b".inf",
        b"off",
        b"1e300",
        b"{}",
        b"[]",
        b"null",
        b"type: ",
        b"kwargs: {checkpoint_path: /etc/passwd}",
        b"timm/resnet18",
        b"2024-01-01",
    ),
)
PYTHON = (
    b"a = a * a\n",
    b"a = 0x" + b"f" * 100_000 + b"\n" + b"b = a * a\n" * 200,
    b"'x' * 10**9",
    b"10**10**9",
    b"__import__('os').system('true')",
    b"[a] * 999999999",
    b"a + a",
    b"'%999999999d' % 1",
)
MEDIA = (
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"#EXTM3U\n",
    b"moov",
    b"mdat",
    b"stsz",
    b"stts",
    b"\xff\xd8",
    b"\xff\xc0\0\x11\x08\x7d\0\x7d\0\x03",
)
SPANS = (
    b"NaN",
    b"1e999",
    b"null",
    b"-1",
    b"{}",
    b"[]",
    b"true",
    b"99999999999999999999",
    b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>",
    b"&a;",
    b"-->",
    b"start_frame",
)
HTTP = (
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 9\r\n",
    b"\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/0.9",
    b"../",
    b"%00",
)
