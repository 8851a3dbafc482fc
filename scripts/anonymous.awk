# SPDX-License-Identifier: GPL-2.0
# Names anonymous members of the bindings after what is used in them. bindgen counts them,
# so that one more in a header gives the others another name. Usage:
#
#	awk -f scripts/anonymous.awk bindings/unions pass=1 BINDINGS pass=2 BINDINGS

# holds(TYPE, MEMBER): is MEMBER in TYPE, itself or in what is anonymous in it?
function holds(type, member,  list, n, i, pair) {
	n = split(members[type], list, " ")
	for (i = 1; i <= n; i++) {
		split(list[i], pair, "=")
		if (pair[1] == member || pair[1] ~ /^__bindgen_anon_/ && holds(pair[2], member))
			return 1
	}
	return 0
}

# used(TYPE, OUTER): which of the members that are used of OUTER is in TYPE, if any.
function used(type, outer,  list, n, i) {
	n = split(wanted[outer], list, " ")
	for (i = 1; i <= n; i++)
		if (holds(type, list[i]))
			return list[i]
}

!pass {
	sub(/#.*/, "")
	if (NF == 2)
		wanted[$1] = wanted[$1] " " $2
	next
}

match($0, /^pub (struct|union) [A-Za-z0-9_]+/) {
	current = outer = substr($0, RSTART, RLENGTH)
	sub(/.* /, "", current)
	sub(/.* /, "", outer)
	sub(/__bindgen_ty_.*/, "", outer)
}
/^}/ { current = "" }

current && /^    pub [A-Za-z0-9_]+: / {
	field = $2
	sub(/:$/, "", field)
	type = $3
	sub(/,$/, "", type)
	if (pass == 1)
		members[current] = members[current] " " field "=" type
	else if (field ~ /^__bindgen_anon_/ && (name = used(type, outer)) != "")
		sub(/__bindgen_anon_[0-9]+/, "__bindgen_" name)
}
pass == 2 { print }
