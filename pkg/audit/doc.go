// Package audit keeps a hash-chained record of who did what, and verifies it.
//
// # The line
//
// An entry is one line of compact JSON, its members in this order, then a newline:
//
//	{"v":1,"seq":1,"eventId":"0193a5c0-7d2e-7000-8000-000000000001","timestamp":"2026-01-31T23:59:59.250000Z","category":"access","prevHash":"0000000000000000000000000000000000000000000000000000000000000000","event":{"action":"media.served","ip":"203.0.113.0"},"hash":"b438a172dcbee86d5d61e1f0d32b0c6b9a72572d483a1029c2625dcc25fb3c60"}
//
//	v          the version of this format, 1
//	seq        1 for the first entry of a chain, then one more for each
//	eventId    names the event: 1 to 128 printable ASCII characters without space, quote and backslash
//	timestamp  when the entry was written, in UTC with six decimals; in a bucket, when its event was handed in
//	category   the chain: access, upload, transcode, auth, admin or emergency
//	prevHash   the hash of the entry before, 64 zeros for the first
//	event      an object, see Event
//	hash       SHA-256, 64 lower-case hex digits, of the line with the hash member cut out
//
// What is hashed is the line's own bytes: everything up to ,"hash": and then the closing brace, without the newline. To
// check the line above by hand, with the line in a file:
//
//	sed 's/,"hash":"[0-9a-f]*"}$/}/' line | tr -d '\n' | sha256sum
//
// A line takes at most 1 MiB. Nothing is escaped for HTML.
//
// # The chains
//
// Each category is a chain of its own, kept in files by day, {category}-{YYYY-MM-DD}.log, and running on from one file
// to the next: a file's first prevHash is the last hash of the file before. The day is that of UTC when the entry is
// written, but never earlier than the newest file's. So a line that was changed, removed, inserted or moved shows, and
// so does a missing file.
//
// What a chain cannot show by itself is that its end was cut off. So each head (seq, hash, and where the line ends) is
// kept apart once it is on disk, in heads/{category}.json and in a HeadStore. A kept head is never ahead of what is on
// disk, and a chain only grows: a kept head that is not in its chain means that entries were lost or changed. Whoever
// takes up the chain then appends an entry with the action audit.gap before any other, which stays a finding for ever,
// and only then keeps newer heads.
//
// # Crashes
//
// A crash in the middle of a write can leave a torn line at the end of the newest file. Whoever takes up the chain moves
// it to torn/{category}-{YYYY-MM-DD}-{offset}.bin, cuts it off, and says so in an entry with the action audit.torn_line.
// A write that fails (a full disk) is cut off at once. Callers are told of success only for whole, linked lines.
//
// # Several processes
//
// Appending holds an exclusive lock on .{category}.lock. A process remembers the end of the chain and trusts that only
// while the newest file is the same one and as long as it left it; what others have appended meanwhile it checks line by
// line, and if anything does not fit it takes up the chain from the disk, which includes looking for the kept heads.
//
// # In a bucket
//
// A Ledger keeps the same chains, of the same lines, as objects. A chain lies in numbered parts, and its head beside them:
//
//	audit/access.00000001.log
//	audit/access.00000002.log
//	audit/heads/access.json
//
// A part that has 1 MiB or more, or that ends with something that is no entry, is closed: the chain goes on in the next
// number. To append is to replace the newest part by a longer one, on the condition that it is still as it was read, or to
// make the next part, on the condition that it is not there. Both depend on nothing but what the newest part holds, so two
// writers that are at the same entry write to the same key, and one of them is refused, reads again, and follows on. That
// is why parts have no date: with days, one writer could begin the next while another adds to the last. The parts in their
// order, cut wherever the date of a timestamp is later than all before, are the day files of a directory.
//
// A timestamp is the time at which the event was handed in. With a queue in between, entries may stand in another order
// than their timestamps; what shows the order is seq.
//
// An object is written whole or not at all, so there are no torn lines. A write whose answer was lost is found by its
// eventIds when the part is read again. An eventId that stands in the newest two parts is not written again, so what a
// queue delivers twice stands there once, if that happens within some thousand entries. The entry about a gap has an
// eventId that is made of the head that is missing; so the writers that miss the same one make one entry.
package audit
