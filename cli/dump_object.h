// Explains an object of a root from its bytes: what each part says, whether it fits what stands
// around it, and what is wrong with it.
#ifndef WP_CLI_DUMP_OBJECT_H_
#define WP_CLI_DUMP_OBJECT_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/raw_store.h"
#include "cli/session.h"
#include "engine/checkpoint.h"
#include "engine/format.h"

namespace wp::cli {

class ObjectDump {
 public:
  ObjectDump(Session& session, RawStore& store, std::string key)
      : session_(session), store_(store), key_(std::move(key)) {}

  // Prints all there is to say. An error: it is of a newer wp, or none of wp's objects.
  Status explain(Bytes object);
  bool damaged() const { return damaged_; }

 private:
  enum class Neighbour : uint8_t { kRight, kOther, kAbsent, kUnknown };
  struct BlockState {
    BlockPtr block;    // null: it cannot be decoded,
    std::string what;  // for this reason
  };

  Status root(Bytes object);
  Status slot(Bytes object);
  Status checkpoint(Bytes object);
  void print_settings(const std::map<LogId, LogSettings>& settings);

  // ---- of a slot
  void print_header(const SlotHeader& header, Bytes object, Neighbour prev);
  void check_place(const SlotHeader& header, Bytes object, Neighbour prev);
  Status body(const SlotHeader& header, Bytes object);
  void find_names(const SlotIndex& index);
  std::string name_of(LogId log) const;  // "'orders'", or "-"
  void print_records(const SlotIndex& index);
  void print_blocks(const SlotIndex& index);
  void print_runs(const SlotIndex& index);
  void print_pieces(const SlotIndex& index);
  std::vector<BlockState> decode_blocks(const SlotIndex& index, Bytes object);
  void check_runs(const SlotHeader& header, const SlotIndex& index,
                  const std::vector<BlockState>& blocks);
  std::string check_piece(const SlotHeader& header, const Piece& piece, const Block& block,
                          int64_t* time) const;
  void damaged_piece(const Run& run, const Piece& piece, const std::string& what);

  // ---- what stands around it
  std::optional<RootObject> read_root();
  // Whether the slot of that position is there, and is that one.
  Neighbour look_at(const Position& position);
  static std::string_view neighbour_name(Neighbour neighbour);

  std::string& out() { return session_.out().buffer(); }
  bool json() const { return session_.json(); }
  void print_kind(std::string_view kind, Bytes object);
  void damage(const std::string& what);

  Session& session_;
  RawStore& store_;
  const std::string key_;
  bool damaged_ = false;
  std::map<LogId, std::string> names_;
};

}  // namespace wp::cli

#endif  // WP_CLI_DUMP_OBJECT_H_
