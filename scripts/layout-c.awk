# SPDX-License-Identifier: GPL-2.0
# Writes the C program of the layout check: for every type of the lists it
# leaves size, alignment and field offsets as text in the assembler output.
# Input: the lists, then the bindings as bindgen's prettyplease formatter
# prints them. Set -v helper to the header that declares the types.

function define(what, expression) {
	printf "\tasm volatile(\".ascii \\\"->%s|%%c0\\\"\" : : \"i\"(%s));\n", what, expression
}

BEGIN {
	# A C field that is a Rust keyword has an underscore behind it.
	split("as async await box const crate dyn else enum extern fn for if impl in let loop " \
	      "match mod move mut priv pub ref return self static struct super trait true type " \
	      "union unsafe use where while yield abstract become do final macro override " \
	      "typeof unsized virtual try gen", words, " ")
	for (i in words)
		keyword[words[i] "_"] = words[i]
	print "/* Made by scripts/layout-c.awk; do not edit. */"
	printf "#include \"%s\"\n\n", helper
	print "void srpt_layout(void);\nvoid srpt_layout(void)\n{"
}

# The lists.
FILENAME ~ /\.list$/ {
	sub(/#.*/, "")
	if (NF < 2)
		next
	wanted[$2] = $1
	for (i = 3; i <= NF; i++)
		nested[$2] = nested[$2] " " $i
	next
}

# The bindings.
match($0, /^pub (struct|union) [A-Za-z0-9_]+ \{/) {
	name = $3
	current = (name in wanted) ? name : ""
	if (!current || seen[name]++)
		next
	ctype = wanted[name] " " name
	define("size|" ctype "|" name, "sizeof(" ctype ")")
	define("align|" ctype "|" name, "__alignof__(" ctype ")")
	n = split(nested[name], list, " ")
	for (i = 1; i <= n; i++) {
		split(list[i], pair, "=")
		define("offset|" ctype "|" name "|" pair[1] "|" (pair[2] ? pair[2] : pair[1]),
		       "offsetof(" ctype ", " pair[1] ")")
	}
	next
}
/^}/ { current = "" }
current && match($0, /^    pub (r#)?[A-Za-z0-9_]+:/) {
	field = $2
	sub(/:.*/, "", field)
	if (field ~ /^(_bitfield_|__bindgen_|_bindgen_|_address$|_unused$)/)
		next
	cfield = (field in keyword) ? keyword[field] : field
	define("offset|" ctype "|" current "|" cfield "|" field, "offsetof(" ctype ", " cfield ")")
}

END {
	print "}"
	for (name in wanted)
		if (!(name in seen)) {
			printf "#error \"%s %s is in the layout list but not in the bindings\"\n", \
				wanted[name], name
		}
}
