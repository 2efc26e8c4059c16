#include "tests/sim_ground.h"

#include <map>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/format.h"
#include "tests/sim_store.h"

namespace wp {
namespace {

constexpr size_t kCheckpointsKept = 2;

class Walk {
 public:
  Walk(const MemoryBucket& bucket, const Checker& checker) : bucket_(bucket), checker_(checker) {}

  std::string from_root() {
    const Body body = bucket_.get(kRootKey);
    if (body == nullptr) return "there is no root";
    const auto root = decode_root(*body);
    if (!root) return root.status().message();
    next_ = {1, root->creator, 0};
    owners_[1] = root->creator;
    return to_the_end();
  }

  std::string from_checkpoint(const std::string& key) {
    const auto data = std::make_shared<MemViewData>();
    MemView view(data);
    const auto head = decode_checkpoint(*bucket_.get(key),
                                        [&](const ViewDelta& delta) { return view.apply(delta); });
    if (!head) return head.status().message();
    next_ = head->head.next;
    last_ = head->head.last;
    MutexLock lock(data->mutex);
    for (const auto& [epoch, row] : data->epochs) owners_[epoch] = row.owner;
    for (const auto& [id, row] : data->logs) lsn_next_[id] = row.lsn_next;
    for (const auto& [place, run] : data->runs) {
      if (std::string gone = needs({run.epoch, owners_[run.epoch], run.seq}); !gone.empty()) {
        return gone;
      }
    }
    return to_the_end();
  }

 private:
  std::string needs(const SlotId& slot) const {
    const std::string key = slot_key(slot);
    return bucket_.get(key) == nullptr ? key + " is gone" : "";
  }

  std::string to_the_end() {
    for (Body body; (body = bucket_.get(slot_key(next_))) != nullptr;) {
      const auto header = decode_header(*body);
      if (!header) return header.status().message();
      if (last_.slot.epoch != 0 && !(header->prev == last_)) {
        return slot_key(next_) + " does not follow the slot before it";
      }
      const auto index =
          decode_index(*header, Bytes(*body).subspan(header->header_bytes, header->index_bytes));
      if (!index) return index.status().message();
      for (const Run& run : index->runs) lsn_next_[run.log] = run.lsn_first + run.count;
      for (const Record& record : index->records) {
        if (record.type != RecordType::kPublish) continue;
        const SlotId segment{next_.epoch, next_.owner, record.segment.seq};
        if (std::string gone = needs(segment); !gone.empty()) return gone;
      }
      last_ = {next_, header_digest(*header, *body)};
      next_ = header->next();
    }
    for (const auto& [id, lsn] : checker_.sure().durable) {
      if (checker_.may_be_dropped(id) || lsn <= checker_.may_be_truncated(id)) continue;
      if (lsn_next_[id] <= lsn) {
        return "it leads to " + slot_key(next_) + ", and not to LSN " + std::to_string(lsn) +
               " of log " + std::to_string(id);
      }
    }
    return {};
  }

  const MemoryBucket& bucket_;
  const Checker& checker_;
  SlotId next_;
  Position last_;
  std::map<Epoch, Nonce> owners_;
  std::map<LogId, Lsn> lsn_next_;
};

}  // namespace

std::string check_ground(const MemoryBucket& bucket, const Checker& checker) {
  const ListResult listed = bucket.list(kCheckpointPrefix, "", 0);
  const auto& keys = listed.objects;
  if (keys.empty()) return Walk(bucket, checker).from_root();
  for (size_t i = keys.size() - std::min(keys.size(), kCheckpointsKept); i < keys.size(); ++i) {
    const std::string wrong = Walk(bucket, checker).from_checkpoint(keys[i].key);
    if (!wrong.empty()) return keys[i].key + ": " + wrong;
  }
  return {};
}

}  // namespace wp
