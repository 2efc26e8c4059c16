// The objects of a root as bytes: names, headers, the index of a fragment, and entries. What each
// byte means stands in docs/FORMAT.md; golden files in the tests pin it. Pure functions: no I/O.
//
// Decoding trusts nothing: every length is checked before it is used, and every answer is either
// what was encoded or kCorrupt (damage) or kUnsupported (a newer version).
#ifndef WP_ENGINE_FORMAT_H_
#define WP_ENGINE_FORMAT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/block.h"
#include "engine/bytes.h"
#include "engine/ids.h"
#include "engine/view.h"
#include "wp.h"

namespace wp {

inline constexpr uint32_t kFormatVersion = 1;
// An owner has at most so many slots under way behind the newest acknowledged one. Openers of any
// version rely on it.
inline constexpr uint64_t kPutsInFlightMax = 256;
// kUnsupported, of an object ("root") that is whole and of a version that is not known here.
Status other_version(std::string_view object, uint64_t version);

// ------------------------------------------------------------------------------------------ names

inline constexpr std::string_view kRootKey = "root";
inline constexpr std::string_view kCheckpointPrefix = "c/";
inline constexpr std::string_view kJournalPrefix = "j/";
inline constexpr std::string_view kSegmentPrefix = "s/";
inline constexpr Seq kSeqMax = (Seq{1} << 48) - 1;  // what a name has digits for
// Whether an object of that number, a slot or a segment, has a name.
inline bool has_name(Seq seq) {
  return (is_segment(seq) ? seq - kSegmentFirst : seq) <= kSeqMax;
}
std::string epoch_prefix(const SlotId& slot);  // "j/<epoch>-<owner>/"; of a segment "s/..."
// Of a slot, and of a segment: "s/<epoch>-<owner>/<number, from 0>".
std::string slot_key(const SlotId& slot);
std::string checkpoint_key(Epoch epoch, Seq seq);
// False for names that are none: strangers are ignored.
bool parse_slot_key(std::string_view key, SlotId* slot);     // of a slot only
bool parse_segment_key(std::string_view key, SlotId* slot);  // seq from kSegmentFirst on
bool parse_checkpoint_key(std::string_view key, Epoch* epoch, Seq* seq);

// ------------------------------------------------------------------------------------------- root

struct RootObject {
  RootId id{};
  Nonce creator = 0;  // owner of epoch 1
  uint32_t version = kFormatVersion;
};
ByteVector encode_root(const RootObject& root);
Result<RootObject> decode_root(Bytes object);

// ------------------------------------------------------------------------------------ slot header

// A segment is no slot of the journal, but has a slot's header: without a slot before it.
enum class SlotKind : uint16_t { kFragment = 1, kFence = 2, kSegment = 3 };

inline constexpr size_t kSlotHeaderBytes = 180;
inline constexpr size_t kSlotHeaderBytesMax = 4096;  // of later versions
// So much of an object is read first: mostly its header and its whole index, of a small one all.
inline constexpr uint64_t kHeadBytes = 64u << 10;

// The proof that a slot's body is whose it says, and its place in the chain.
struct SlotHeader {
  SlotKind kind = SlotKind::kFragment;
  bool closed = false;      // the owner closed cleanly: nothing of it follows, or is under way
  bool properties = false;  // the index says which properties occur in its pieces
  RootId root{};
  SlotId slot;
  Position prev;             // the slot before, and its header's digest
  Nonce author = 0;          // who wrote it. Of a fence: the owner of the next epoch
  int64_t time_base_ms = 0;  // entries' times are relative to it
  uint64_t entries = 0;
  uint64_t body_bytes = 0;  // of all that follows the header
  Digest body_digest{};     // of those bytes
  uint32_t index_bytes = 0, index_crc = 0;
  uint32_t header_bytes = kSlotHeaderBytes;

  uint64_t object_bytes() const { return header_bytes + body_bytes; }
  SlotId next() const {  // the slot that follows
    if (kind == SlotKind::kFence) return {slot.epoch + 1, author, 0};
    return {slot.epoch, slot.owner, slot.seq + 1};
  }
};
// Exactly kSlotHeaderBytes.
void encode_header(const SlotHeader& header, std::byte* at);
// From the first bytes of an object, which may be more than the header.
Result<SlotHeader> decode_header(Bytes head);
// What the next slot's `prev` holds. `head` begins with the header.
Digest header_digest(const SlotHeader& header, Bytes head);

// ------------------------------------------------------------------------------------------ index

enum class RecordType : uint8_t {
  kCreate = 1,
  kTruncate = 2,
  kDrop = 3,
  kRetain = 4,      // the log's retention is this from now on
  kCursor = 5,      // a cursor of the log is here now; made where there was none
  kCursorDrop = 6,  // a cursor goes
  kPublish = 7,     // a segment of the author's epoch holds these entries now
  kForget = 8,      // these objects are deleted, and nobody needs them
};

inline constexpr size_t kLogNameBytesMax = 512;
inline constexpr size_t kCursorNameBytesMax = 128;
inline constexpr size_t kCursorsMax = 100;            // of a log
inline constexpr uint64_t kForgottenMax = 1'000'000;  // objects of one record
// Log ids and LSNs stay below this: a database sorts them as signed numbers.
inline constexpr uint64_t kNumberEnd = uint64_t{1} << 63;

// Objects of one epoch whose numbers follow each other.
struct ObjectRange {
  Epoch epoch = 0;
  Seq seq_first = 0;
  uint64_t count = 0;
  bool operator==(const ObjectRange&) const = default;
};

// A change of metadata. Within a fragment creations come before entries, all others behind them in
// their order.
struct Record {
  RecordType type = RecordType::kCreate;
  LogId log = 0;               // not of kPublish, kForget
  std::string name;            // kCreate; kCursor, kCursorDrop: the cursor's
  Lsn lsn_first = 0;           // kTruncate: the first that is left; kCursor: what is committed
  uint64_t bytes_begin = 0;    // kTruncate: bytes of the log before the run that holds it
  int64_t time_ms = 0;         // kCursor: see CursorRow
  Retention retention{};       // kRetain
  SlotRow segment{};           // kPublish: the segment, but for the epoch, which is the slot's;
                               // kForget: only `bytes`, those of all the objects
  std::vector<RunRow> runs{};  // kPublish: by log id, one a log; but for epoch and seq
  std::vector<ObjectRange> objects{};  // kForget
};

struct BlockInfo {
  uint64_t offset = 0;  // in the object
  uint32_t stored_bytes = 0, raw_bytes = 0;
  uint32_t crc = 0;  // of the stored bytes
  bool compressed = false;
};

// Entries of one log that lie next to each other in one block.
struct Piece {
  uint32_t block = 0;
  uint32_t offset = 0, bytes = 0;  // in the decoded block
  Lsn lsn_first = 0;
  uint64_t count = 0;
  int64_t time_last_ms = 0;
};

// The entries of one log in this fragment: its pieces, in order.
struct Run {
  LogId log = 0;
  Lsn lsn_first = 0;
  uint64_t count = 0;
  uint64_t bytes = 0;  // payloads and properties
  int64_t time_first_ms = 0, time_last_ms = 0;
  uint32_t piece_first = 0, pieces = 0;
};

// Hashes of the properties that occur in a piece, so that whoever looks for some need not look
// where they are not.
inline constexpr size_t kPropertyHashesMax = 32;
uint32_t property_hash(std::string_view key, std::string_view value);

struct PropertySet {
  std::vector<uint32_t> hashes;  // ascending, at most kPropertyHashesMax
  bool unknown = false;          // there are more, or nobody looked: anything may occur

  bool empty() const { return hashes.empty() && !unknown; }
  void add(uint32_t hash);
  // Whether there may be an entry that has all of them.
  bool may_hold(std::span<const uint32_t> wanted) const;
  bool operator==(const PropertySet&) const = default;
};
// Adds an entry's properties, as encoded.
void add_properties(Bytes properties, PropertySet& set);
// Adds the properties of all entries of a piece.
void add_properties_of_entries(Bytes piece, PropertySet& set);

struct SlotIndex {
  std::vector<Record> records;
  std::vector<BlockInfo> blocks;
  std::vector<Run> runs;  // by log id
  std::vector<Piece> pieces;
  // Of each piece, in their order, and not of all of them empty; or none at all, where it is not
  // said: SlotHeader::properties tells.
  std::vector<PropertySet> properties;

  const Run* run_of(LogId log) const;
  // The run that the view means; null: it knows other entries of that log.
  const Run* run_as(const RunRow& row) const;
  // The piece of the run that holds the LSN.
  uint32_t piece_at(const Run& run, Lsn lsn) const;
  size_t memory_bytes() const;
};
ByteVector encode_index(const SlotIndex& index, int64_t time_base_ms);
// A fragment or a segment but for the bytes of its header: room for that, the index, and the blocks
// as stored. Says in the index where each block stands, and in the header what follows from both.
std::shared_ptr<ByteVector> assemble(SlotHeader& header, SlotIndex& index, Bytes blocks);
// `bytes` are the index's, already checked against header.index_crc by this.
Result<SlotIndex> decode_index(const SlotHeader& header, Bytes bytes);

// ------------------------------------------------------------------------------------------ block

// Compresses with zstd where that is shorter. Appends to `out` and describes what it appended, but
// for the offset.
BlockInfo encode_block(Bytes raw, int level, ByteVector& out);
// Checks the stored bytes and gives the entries' bytes.
Result<BlockPtr> decode_block(const BlockInfo& block, Bytes stored, BlockPool* pool = nullptr);

// ---------------------------------------------------------------------------------------- entries

inline constexpr size_t kEntryOverheadBytesMax = 3 * kVarintBytesMax;

size_t properties_bytes(std::span<const Property> properties);  // as encoded; 0 where there is none
std::byte* store_properties(std::byte* at, std::span<const Property> properties);
// The bytes are the thread's, until its next call.
Bytes encoded_properties(std::span<const Property> properties);
// Writes an entry; `properties` are encoded ones. Returns one past its end.
std::byte* store_entry(std::byte* at, int64_t time_delta_ms, Bytes properties, Bytes payload);

// Entries of a piece once more, with another time base, behind `out`; `copied` is told each one's
// encoded size and time. False: they make no sense, or are not `count`; then nothing is added.
struct CopiedEntry {
  uint32_t bytes = 0;
  int64_t time_ms = 0;
};
bool copy_entries(Bytes piece, uint64_t count, int64_t time_base_ms, int64_t time_base_new_ms,
                  ByteVector& out, std::vector<CopiedEntry>* copied);

// Walks over the entries of a piece. The bytes must outlive it; entries hold `hold`.
class EntryCursor {
 public:
  EntryCursor() = default;
  EntryCursor(std::shared_ptr<const void> hold, Bytes bytes, Lsn lsn_first, int64_t time_base_ms)
      : hold_(std::move(hold)),
        at_(bytes.data()),
        end_(bytes.data() + bytes.size()),
        lsn_(lsn_first),
        time_base_ms_(time_base_ms) {}

  bool done() const { return at_ == end_; }
  Lsn lsn() const { return lsn_; }  // of the next entry
  // False: the bytes are no entry.
  bool next(Entry* entry);
  bool skip();  // like next(), without making an entry

 private:
  bool parse(Entry* entry);
  std::shared_ptr<const void> hold_;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  Lsn lsn_ = 0;
  int64_t time_base_ms_ = 0;
};

}  // namespace wp

#endif  // WP_ENGINE_FORMAT_H_
