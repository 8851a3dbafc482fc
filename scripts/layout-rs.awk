# SPDX-License-Identifier: GPL-2.0
# Turns the assembler output of the layout check's C program into Rust that
# compares the numbers with its own; see src/bindings/layout.rs.

BEGIN { print "// Made by scripts/layout-rs.awk; do not edit." }

/\.ascii[ \t]*"->/ {
	sub(/.*"->/, "")
	sub(/".*/, "")
	n = split($0, part, "|")
	number = part[n]
	sub(/^[$#]/, "", number)
	if (part[1] == "size")
		printf "const _: () = compare(\"sizeof(%s)\", %s, size_of::<bindings::%s>());\n", \
			part[2], number, part[3]
	else if (part[1] == "align")
		printf "const _: () = compare(\"alignof(%s)\", %s, align_of::<bindings::%s>());\n", \
			part[2], number, part[3]
	else
		printf "const _: () = compare(\"offsetof(%s, %s)\", %s, offset_of!(bindings::%s, %s));\n", \
			part[2], part[4], number, part[3], part[5]
	count++
}

END {
	if (!count) {
		print "layout check: the compiler's output holds no numbers" > "/dev/stderr"
		exit 1
	}
	printf "/// How many numbers were compared.\n#[allow(dead_code)]\nconst COMPARED: usize = %d;\n", count
}
