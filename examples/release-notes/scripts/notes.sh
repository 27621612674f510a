# Every step of this mission: `sh scripts/notes.sh <step> [argument]`, run in the cell's folder. POSIX sh and awk.
#
# Each step reads files and writes one of its own, beside it and then by rename, so doing it again gives the same file:
# that is why its `retry` may be "safe". `announce` is the exception, and its task says so.
# A step that has finished adds a line to artifacts/ledger.txt; a step that was done twice would stand there twice.
set -eu
export LC_ALL=C
tab=$(printf '\t')
log=input/changes.tsv # id, date, author, kind, area, subject; a revert has the reverted id as its subject
work=artifacts/work
notes=artifacts/RELEASE-NOTES.md
mkdir -p "$work"

pace() { . ./scripts/pace.sh; }

# Standard input becomes the file $1, whole.
write() {
  cat >"$1.part"
  mv "$1.part" "$1"
}

title() {
  case $1 in
  feature) echo New ;;
  fix) echo Mended ;;
  performance) echo Faster ;;
  esac
}

# --- collect

check() {
  awk -F "$tab" '
    NF != 6                                                   { print FILENAME ": line " NR ": not 6 fields"; bad = 1 }
    $4 !~ /^(feature|fix|performance|internal|revert)$/       { print FILENAME ": line " NR ": kind " $4; bad = 1 }
    seen[$1]++                                                { print FILENAME ": line " NR ": " $1 " again"; bad = 1 }
    END { print NR " changes"; exit bad }' "$log"
}

drop_reverted() {
  awk -F "$tab" '
    NR == FNR { if ($4 == "revert") reverted[$6] = 1; next }
    $4 != "revert" && $4 != "internal" && !($1 in reverted)' "$log" "$log" | write "$work/kept.tsv"
}

split() {
  for kind in feature fix performance; do
    awk -F "$tab" -v kind="$kind" '$4 == kind' "$work/kept.tsv" | write "$work/$kind.tsv"
  done
}

# --- write-features, write-fixes, write-performance: $1 is the kind

# One line for each entry: area, subject, ids. The same change made in several branches is one entry.
merge() {
  sort -t "$tab" -k 5,5 -k 6,6 -k 1,1 "$work/$1.tsv" | awk -F "$tab" '
    { entry = $5 FS $6 }
    entry == last { ids = ids ", " $1; next }
    NR > 1        { print last FS ids }
                  { last = entry; ids = $1 }
    END           { if (NR) print last FS ids }' | write "$work/$1.merged.tsv"
}

draft() {
  pace && pace && pace # the long step of each writer
  {
    echo "## $(title "$1")"
    awk -F "$tab" '
      $1 != area { area = $1; print "\n### " area "\n" }
                 { print "- " $2 " (" $3 ")" }' "$work/$1.merged.tsv"
  } | write "$work/$1.md"
}

count() {
  wc -l <"$work/$1.merged.tsv" | tr -d ' ' | write "$work/$1.count"
}

# --- credits

tally() {
  cut -f 3 "$work/kept.tsv" | sort | uniq -c | sort -k 1,1nr -k 2 | write "$work/authors"
}

thanks() {
  {
    echo '## Thanks'
    echo
    awk '{ n = $1; sub(/^ *[0-9]+ /, ""); print "- " $0 ": " n (n == 1 ? " change" : " changes") }' "$work/authors"
  } | write "$work/thanks.md"
}

# --- assemble

front() {
  {
    echo '# Tidewater 4.0: release notes'
    echo
    echo "$(wc -l <"$work/kept.tsv" | tr -d ' ') changes by $(wc -l <"$work/authors" | tr -d ' ') people," \
      "from $(cut -f 2 "$work/kept.tsv" | sort | head -n 1) to $(cut -f 2 "$work/kept.tsv" | sort | tail -n 1)."
    echo
    echo '| chapter | entries |'
    echo '| ------- | ------- |'
    for kind in feature fix performance; do
      echo "| $(title "$kind") | $(cat "$work/$kind.count") |"
    done
  } | write "$work/front.md"
}

bind() {
  {
    cat "$work/front.md"
    for part in feature fix performance thanks; do
      echo
      cat "$work/$part.md"
    done
  } | write "$notes"
}

# --- audit

recount() {
  sh scripts/verify.sh
}

sign() {
  cksum "$notes" | write artifacts/audit.txt
}

# --- publish

# Copies the notes, then their checksum: where that stands, the copy is whole (scripts/is-published.sh).
publish() {
  mkdir -p artifacts/published
  write artifacts/published/RELEASE-NOTES.md <"$notes"
  cksum <"$notes" | write artifacts/published/cksum
}

# A second line would be a second e-mail to everybody.
announce() {
  echo "Tidewater 4.0 is out: $(cksum <artifacts/published/RELEASE-NOTES.md)" >>artifacts/announcements.txt
}

step=$1
shift
pace
"$step" "$@"
echo "$LAZARUS_TASK/$LAZARUS_STEP $LAZARUS_KEY" >>artifacts/ledger.txt
