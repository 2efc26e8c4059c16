// `wp dump`: one object of the bucket, explained.
#include <algorithm>

#include "cli/commands.h"
#include "cli/dump_object.h"
#include "cli/raw_store.h"
#include "cli/session.h"
#include "engine/text.h"
#include "stores/keys.h"

namespace wp::cli {
namespace {

constexpr size_t kKeysLookedAt = 10'000;
constexpr Seq kSlotsAround = 500;

// How far a key is from the one that is wanted; less is nearer.
uint64_t distance(const std::string& key, const std::string& wanted) {
  SlotId a, b;
  if (parse_slot_key(key, &a) && parse_slot_key(wanted, &b) && a.epoch == b.epoch &&
      a.owner == b.owner) {
    return a.seq < b.seq ? b.seq - a.seq : a.seq - b.seq;
  }
  return kSeqMax + typing_errors(key, wanted);  // further than any slot of the same epoch
}

std::string nearest_of(const std::vector<std::string>& keys, const std::string& wanted) {
  const auto near =
      std::min_element(keys.begin(), keys.end(), [&](const std::string& a, const std::string& b) {
        return distance(a, wanted) < distance(b, wanted);
      });
  return near == keys.end() ? "" : *near;
}

// The key that is there and most like the wanted one; empty: none.
std::string nearest_key(RawStore& store, const std::string& wanted) {
  struct Place {
    std::string prefix, after;
  };
  std::vector<Place> places;
  if (SlotId slot; parse_slot_key(wanted, &slot)) {
    const std::string prefix = epoch_prefix(slot);
    slot.seq -= std::min(slot.seq, kSlotsAround);
    places.push_back({prefix, slot_key(slot)});
    places.push_back({prefix, ""});
  }
  if (wanted.starts_with("j/") || wanted.starts_with(kCheckpointPrefix)) {
    places.push_back({wanted.substr(0, 2), ""});
  }
  places.push_back({"", ""});
  for (const Place& place : places) {
    const auto keys = store.list(place.prefix, place.after, kKeysLookedAt);
    if (!keys) return "";
    if (!keys->empty()) return nearest_of(*keys, wanted);
  }
  return "";
}

Status not_there(RawStore& store, const std::string& key) {
  const std::string near = nearest_key(store, key);
  return Status(Code::kNotFound, "dump " + printable_key(key) + " of " + store.url() +
                                     ": there is no such object; " +
                                     (near.empty() ? "the store has none at all, is it the right "
                                                     "URL?"
                                                   : "the nearest is " + printable_key(near)));
}

}  // namespace

int run_dump(const Args& args) {
  Session session(args);
  const auto options = session.options(args.operand(0), Session::Open::kRead);
  if (!options) return session.fail(options.status());
  auto store = RawStore::open(args.operand(0), *options);
  if (!store) return session.fail(store.status());
  const auto key = store->key_of(args.operand(1));
  if (!key) return session.fail(key.status());
  const auto object = store->get(*key);
  if (object.code() == Code::kNotFound) return session.fail(not_there(*store, *key));
  if (!object) return session.fail(object.status());
  ObjectDump dump(session, *store, *key);
  if (Status status = dump.explain(*object); !status.ok()) {
    // Of the decoders, which do not know which object it is.
    if (status.code() == Code::kUnsupported) {
      status =
          Status(status.code(), "dump " + *key + " of " + store->url() + ": " + status.message());
    }
    return session.fail(status);
  }
  return session.finish(dump.damaged() ? kExitDamaged : kExitDone);
}

}  // namespace wp::cli
