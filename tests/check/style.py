# SPDX-License-Identifier: Apache-2.0
"""How the code looks: what can be counted."""

import re
import shutil
import subprocess

from check.tree import LAYERS, Tree, without_comments

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
WIDTH_MAX = 100
SPDX = "SPDX-License-Identifier: Apache-2.0"


def functions(text):
    """(name, first line, number of lines) of every function of a C file whose brace stands on its
    own line.
    """
    lines = without_comments(text).splitlines()
    for index, line in enumerate(lines):
        if line != "{":
            continue
        end = next(
            (at for at in range(index + 1, len(lines)) if lines[at].startswith("}")), len(lines) - 1
        )
        if not lines[end].rstrip() == "}":
            continue  # the initialiser of a table: }; or } name;
        start = index
        while (
            start > 0
            and lines[start - 1].strip()
            and not lines[start - 1].startswith(("}", "#"))
            and not lines[start - 1].rstrip().endswith(";")
        ):
            start -= 1
        name = re.search(r"(\w+)\s*\(", " ".join(lines[start:index]))
        yield name.group(1) if name else "?", start + 1, end - start + 1


class FunctionsFitAScreen:
    name = f"no function is longer than {FUNCTION_LINES_MAX} lines"
    bad = [Tree({"io/a.c": "int f(void)\n{\n" + "    g();\n" * 70 + "}\n"})]

    def check(self, tree):
        for name in tree.sources():
            if name.endswith(".c"):
                for function, line, length in functions(tree.files[name]):
                    if length > FUNCTION_LINES_MAX:
                        yield f"{name}:{line}: {function} has {length} lines"


class FilesFitAHead:
    name = f"no file is longer than {FILE_LINES_MAX} lines"
    bad = [Tree({"io/a.c": "\n" * 801})]

    def check(self, tree):
        for name, text in sorted(tree.files.items()):
            lines = text.count("\n")
            if name.endswith((".c", ".h", ".py")) and lines > FILE_LINES_MAX:
                yield f"{name}: {lines} lines"


class LinesAreNarrow:
    name = "no line is wider than 100 columns, none ends in blanks"
    bad = [
        Tree({"io/a.c": "x" * 101 + "\n"}),
        Tree({"io/a.c": "x \n"}),
        Tree({"tests/a.py": "x" * 101 + "\n"}),
        Tree({"io/a.c": "\tx\n"}),
    ]

    def check(self, tree):
        for name, text in sorted(tree.files.items()):
            code = name.endswith((".c", ".h"))
            if not code and not name.endswith(
                (".py", "meson.build", "/run", "quickstart", "install-packages")
            ):
                continue
            for number, line in enumerate(text.splitlines(), 1):
                if len(line) > WIDTH_MAX and (code or name.endswith(".py")):
                    yield f"{name}:{number}: {len(line)} columns"
                if line != line.rstrip():
                    yield f"{name}:{number}: blanks at the end"
                if "\t" in line and (code or name.endswith(".py")):
                    yield f"{name}:{number}: a tabulator"


class FilesSayTheirLicence:
    name = "every source file begins with its SPDX line"
    bad = [Tree({"io/a.c": "int x;\n"}), Tree({"tests/a.py": "x = 1\n"})]

    def check(self, tree):
        for name, text in sorted(tree.files.items()):
            head = "\n".join(text.splitlines()[:2])
            if name.endswith((".c", ".h")) and not text.startswith(f"/* {SPDX} */\n"):
                yield f"{name}: does not begin with /* {SPDX} */"
            elif (
                name.endswith((".py", "meson.build")) or text.startswith("#!")
            ) and SPDX not in head:
                yield f"{name}: no SPDX line at its beginning"


class PrototypesHaveContracts:
    """A header is a contract: each prototype, or the run of prototypes it opens, has a comment
    above.
    """

    name = "every prototype in a header has a comment above"
    bad = [
        Tree({"io/a.h": "int f(void);\n"}),
        Tree({"io/a.h": "/* About g. */\nvoid g(void);\n\nint f(void);\n"}),
    ]

    def check(self, tree):
        for name in tree.sources(LAYERS):
            if name.endswith(".h"):
                yield from self.check_header(name, tree.files[name])

    def check_header(self, name, text):
        plain = without_comments(text)
        for match in re.finditer(
            r"(?m)^(?!typedef|struct \w+ \{|static_assert|_Static_assert|#|extern)"
            r"[A-Za-z_][\w \*]*?[\s\*](\w+)\([^;{}]*\)[^;{}]*;",
            plain,
        ):
            number = text.count("\n", 0, match.start()) + 1
            if not self.commented(text.splitlines(), number - 1):
                yield f"{name}:{number}: {match.group(1)} has no contract above it"

    @staticmethod
    def commented(lines, index):
        """A comment ends right above, or right above the run of prototypes that this line is part
        of.
        """
        while index > 0:
            above = lines[index - 1].strip()
            if above.endswith("*/"):
                return True
            if not above or above.startswith("#"):
                return False
            index -= 1
        return False


class NothingIsLeftUndone:
    name = "nothing is marked as to be done later"
    bad = [Tree({"io/a.c": "/* TO" + "DO: later */\n"}), Tree({"tests/a.py": "# FIX" + "ME\n"})]
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")

    def check(self, tree):
        for name, text in sorted(tree.files.items()):
            if name.endswith((".c", ".h", ".py", ".md", "meson.build")) or text.startswith("#!"):
                for number, line in enumerate(text.splitlines(), 1):
                    if self.words.search(line):
                        yield f"{name}:{number}: {line.strip()}"


class FormatIsClangFormats:
    name = "clang-format changes nothing"
    bad = [Tree({"io/a.c": "int  x ;\n"})]

    def check(self, tree):
        if shutil.which("clang-format") is None:
            return
        if tree.root is None:
            for name in tree.sources():
                formatted = subprocess.run(
                    ["clang-format"],
                    input=tree.files[name],
                    text=True,
                    capture_output=True,
                    check=True,
                ).stdout
                if formatted != tree.files[name]:
                    yield f"{name}: clang-format would change it"
            return
        done = subprocess.run(
            ["clang-format", "--dry-run", "-ferror-limit=1", "--style=file", *tree.sources()],
            cwd=tree.root,
            text=True,
            capture_output=True,
            check=False,
        )
        seen = set()
        for line in done.stderr.splitlines():
            match = re.match(r"([^:]+):(\d+):\d+: warning: code should be clang-formatted", line)
            if match and match.group(1) not in seen:
                seen.add(match.group(1))
                yield f"{match.group(1)}:{match.group(2)}: clang-format would change it"


RULES = [
    FunctionsFitAScreen,
    FilesFitAHead,
    LinesAreNarrow,
    FilesSayTheirLicence,
    PrototypesHaveContracts,
    NothingIsLeftUndone,
    FormatIsClangFormats,
]
