// The identities that everything else speaks of: which slot, which chain, which log.
#ifndef WP_ENGINE_IDS_H_
#define WP_ENGINE_IDS_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace wp {

using Digest = std::array<std::byte, 32>;  // SHA-256
using RootId = std::array<std::byte, 16>;
using LogId = uint64_t;  // from 1, never given twice in a root
using Epoch = uint32_t;  // from 1
using Seq = uint64_t;    // a slot's number in its epoch, from 0; a segment's from kSegmentFirst
using Nonce = uint64_t;  // of an opening; never 0

// An epoch's owner numbers its segments too, behind all numbers that slots can have: so one kind of
// number names every object that holds entries.
inline constexpr Seq kSegmentFirst = Seq{1} << 62;
inline bool is_segment(Seq seq) {
  return seq >= kSegmentFirst;
}

// A slot of the journal: the place of one object. The owner is part of it, because an epoch that
// never really was may have a slot of the same numbers.
struct SlotId {
  Epoch epoch = 0;  // 0: before the first slot, where the root object stands
  Nonce owner = 0;
  Seq seq = 0;
  bool operator==(const SlotId&) const = default;
};

// Slots of one real journal in their order (owners do not matter: a real epoch has one).
inline bool slot_before(const SlotId& a, const SlotId& b) {
  return a.epoch != b.epoch ? a.epoch < b.epoch : a.seq < b.seq;
}

// A slot that was read, and the digest of its header: a place on the chain.
struct Position {
  SlotId slot;
  Digest digest{};
  bool operator==(const Position&) const = default;
};

}  // namespace wp

#endif  // WP_ENGINE_IDS_H_
