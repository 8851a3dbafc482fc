# SPDX-License-Identifier: GPL-2.0
#
# The commands in docs/admin.md and in the manual page are ones that work.

import re
import shlex
import unittest
import xml.etree.ElementTree as xml

import fake
from top import cli


def commands(text):
    """Command lines that begin with srpt-top, without what they are piped to."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True) if line.startswith("srpt-top ") \
            or line == "srpt-top" else []
        if words:
            yield words[1:words.index("|")] if "|" in words else words[1:]


class Documents(fake.Case):
    def check(self, text, least):
        """Run them in their order, faster and shorter; those that do not end by
        themselves are run by other tests."""
        self.port().login(1)
        found = list(commands(text))
        self.assertGreaterEqual(len(found), least)
        for words in found:
            options = cli.parser().parse_args(words)
            if options.count:
                words += ["--count", "2", "--interval", "0.1"]
            # Files are made in the test's own folder.
            for name in (options.record, options.chart, options.output):
                if name:
                    words[words.index(name)] = str(self.folder / name)
            if any((options.once, options.json, options.record, options.chart,
                    options.prometheus)):
                status, out, error = self.run_program(*words)
                self.assertEqual(status, 0, (words, error))
        xml.parse(self.folder / "run.svg")

    def test_admin(self):
        text = (fake.REPO / "docs/admin.md").read_text()
        section = re.search(r"^## srpt-top\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
        block, = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
        self.check(block, 7)

    def test_manual(self):
        text = (fake.REPO / "scripts/deb/debian/srpt-top.1").read_text()
        examples = text[text.index(".SH EXAMPLES"):]
        self.check(examples, 4)


if __name__ == "__main__":
    unittest.main()
