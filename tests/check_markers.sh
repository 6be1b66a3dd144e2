#!/bin/sh
# tests/check_markers.sh [FILE]: what makes vq.h one file that can be read, as far as a script sees.
#
# The manual is the comment at the top; its sections begin with ">>name" in the first column, those
# of the code with "   >>name" under a rule of "=". Prints FILE:LINE: for each line that is wrong,
# then "check_markers: N passed, N failed", a rule each. References, whose loops are the
# definition of an op, may be longer than other functions.
set -eu
file=${1:-vq.h}
test -r "$file" || { echo "check_markers.sh: cannot read $file"; exit 1; }

LC_ALL=C awk -v file="$file" '
function wrong(rule, line, text) { print file ":" line ": " text; bad[rule]++ }

# What a line holds outside comments and literals; sets in_comment, and line_comment on a "//".
function code_of(text,    out, at, token) {
    out = ""
    line_comment = 0
    while (text != "") {
        if (in_comment) {
            at = index(text, "*/")
            if (!at) return out
            text = substr(text, at + 2)
            in_comment = 0
        } else if (match(text, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047/)) {
            token = substr(text, RSTART, 2)
            out = out substr(text, 1, RSTART - 1)
            text = substr(text, RSTART + RLENGTH)
            if (token == "//") { line_comment = 1; return out }
            if (token == "/*") in_comment = 1
            else out = out "\"\""
        } else return out text
    }
    return out
}

function begin_section(name) {
    end_section()
    if (name in section_line)
        wrong("unique", NR, ">>" name " is on line " section_line[name] " already")
    section = name
    section_line[name] = NR
    order[++sections] = name
}

function end_section() {
    if (section != "" && NR - section_line[section] > 800)
        wrong("sections", section_line[section], ">>" section " has " \
              (NR - section_line[section]) " lines, 800 are allowed")
    section = ""
}

BEGIN {
    rules = split("contents unique references sections functions columns comments words", rule, " ")
    manual = 1
}

{
    was_comment = in_comment
    code = code_of($0)
}

# The table of contents: three columns, each read from top to bottom.
manual && /^TABLE OF CONTENTS/ { in_toc = 1 }
manual && /^>>/ { in_toc = 0 }
in_toc && /Manual .*Declarations .*Implementation/ {
    column[1] = index($0, "Manual")
    column[2] = index($0, "Declarations")
    column[3] = index($0, "Implementation")
}
in_toc && / >>[a-z]/ {
    rest = $0
    at = 0
    while (match(rest, />>[a-z0-9-]+/)) {
        c = at + RSTART >= column[3] ? 3 : at + RSTART >= column[2] ? 2 : 1
        toc[c, ++toc_rows[c]] = substr(rest, RSTART + 2, RLENGTH - 2)
        at += RSTART + RLENGTH - 1
        rest = substr(rest, RSTART + RLENGTH)
    }
}

manual && /^>>[a-z]/ { match($0, /^>>[a-z0-9-]+/); begin_section(substr($0, 3, RLENGTH - 2)) }
!manual && /^   >>[a-z]/ {
    match($0, /^   >>[a-z0-9-]+/)
    begin_section(substr($0, 6, RLENGTH - 5))
    if (previous !~ /^\/\* =====/) wrong("contents", NR, "a marker without a rule above it")
}

# References: ">>name" in a comment, here or there.
!in_toc && (was_comment || in_comment || index($0, "/*")) {
    rest = $0
    while (match(rest, /(^|[ (,])>>[a-z][a-z0-9-]*/)) {
        name = substr(rest, RSTART, RLENGTH)
        sub(/^.?>>/, "", name)
        sub(/-$/, "", name)
        if (!(name in refers)) refers[name] = NR
        rest = substr(rest, RSTART + RLENGTH)
    }
}

# Functions: a brace in the first column opens, the next one closes.
!was_comment && /^[a-zA-Z_].*\(/ {
    match($0, /[a-zA-Z0-9_]+ *\(/)
    fn = substr($0, RSTART, RLENGTH - 1)
}
!was_comment && /^\{/ { fn_line = NR }
!was_comment && /^\}/ && fn_line {
    if (NR - fn_line + 1 > 80 && fn !~ /^vq__ref_/)
        wrong("functions", fn_line, fn " has " (NR - fn_line + 1) " lines, 80 are allowed")
    fn_line = 0
}

length($0) > 100 { wrong("columns", NR, length($0) " columns, 100 are allowed") }
/\t/             { wrong("columns", NR, "a tab") }
/[ \t\r]$/       { wrong("columns", NR, "blanks at the end") }
/[^ -~\t]/       { wrong("columns", NR, "a character that is not ASCII") }
line_comment     { wrong("comments", NR, "a // comment") }
/TODO|FIXME|XXX/ { wrong("words", NR, "a note of what is unfinished") }

{ previous = $0 }
manual && !in_comment { end_section(); manual = 0 }

END {
    NR++
    end_section()
    n = 0
    for (c = 1; c <= 3; c++)
        for (i = 1; i <= toc_rows[c]; i++) listed[++n] = toc[c, i]
    if (!n) wrong("contents", 1, "no table of contents")
    for (i = 1; i <= (n > sections ? n : sections); i++)
        if (listed[i] != order[i]) {
            wrong("contents", i <= sections ? section_line[order[i]] : 1,
                  "section " i " is " (i <= sections ? ">>" order[i] : "missing") \
                  ", the table of contents has " (i <= n ? ">>" listed[i] : "no more"))
            break
        }
    for (name in refers)
        if (!(name in section_line))
            wrong("references", refers[name], "there is no section >>" name)
    for (i = 1; i <= rules; i++)
        if (bad[rule[i]]) failed++
        else passed++
    print "check_markers: " passed + 0 " passed, " failed + 0 " failed"
    exit failed > 0
}' "$file"
