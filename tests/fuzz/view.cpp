// A view's file that was changed behind its back: bytes that are damaged with the pages' sums as
// they were, and with sums put right, behind which a fuzzer would never see SQLite's own
// structures.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/bytes.h"
#include "meta_sqlite/page_sums.h"
#include "meta_sqlite/sqlite_view.h"
#include "tests/fuzz/targets.h"

namespace wp::fuzz {
namespace {

namespace fs = std::filesystem;

// Of this process, removed at its end.
class Place {
 public:
  Place() {
    for (const std::string& where : {std::string("/dev/shm"), fs::temp_directory_path().string()}) {
      std::string name = where + "/wp-fuzz-XXXXXX";
      if (directory_.empty() && mkdtemp(name.data()) != nullptr) directory_ = name;
    }
    promise(!directory_.empty(), "there is room for a directory");
  }
  ~Place() {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  std::string path() const { return directory_ + "/view"; }
  void empty() const {
    for (const auto& file : fs::directory_iterator(directory_)) fs::remove(file);
  }

 private:
  std::string directory_;
};

ViewDelta some_rows() {
  ViewDelta delta;
  delta.head.root_id.fill(std::byte{7});
  delta.head.last.slot = {2, 5, 9};
  delta.head.next = {2, 5, 10};
  delta.head.log_id_next = 41;
  delta.head.slots = 20;
  delta.head.logs = 40;
  for (LogId id = 1; id <= 40; ++id) {
    LogRow row;
    row.id = id;
    row.name = "log " + std::to_string(id);
    row.lsn_next = 31;
    if (id % 10 == 0) row.settings.retention.bytes = id;
    delta.logs.push_back(row);
    for (Lsn lsn = 1; lsn <= 30; lsn += 10) {
      RunRow run;
      run.log = id;
      run.lsn_first = lsn;
      run.count = 10;
      run.epoch = lsn < 20 ? 1 : 2;
      run.seq = lsn;
      delta.runs.push_back(run);
    }
  }
  EpochRow first, second;
  first.epoch = 1;
  first.owner = 4;
  first.ended = true;
  first.fence = 21;
  second.epoch = 2;
  second.owner = 5;
  delta.epochs = {first, second};
  delta.slots = {{1, 1, 100, 1}, {1, 11, 100, 1}, {2, 21, 100, 1}};
  return delta;
}

std::string good_file(const Place& place) {
  auto view = SqliteView::open(place.path());
  promise(view.ok() && (*view)->apply(some_rows()).ok(), "a good view can be made");
  promise((*view)->set_note("fact", "noted").ok() && (*view)->close().ok(), "and closed");
  std::ifstream file(place.path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put_sums_right(std::string& file) {
  constexpr size_t kBody = kPageBytes - kPageSumBytes;
  for (size_t at = 0; at + kPageBytes <= file.size(); at += kPageBytes) {
    const uint32_t sum = crc32c(as_bytes(std::string_view(file).substr(at, kBody)));
    store_fixed(reinterpret_cast<std::byte*>(file.data()) + at + kBody,
                sum ^ static_cast<uint32_t>(at / kPageBytes + 1));
  }
}

template <class T>
void refuses_rightly(const Result<T>& answer) {
  const Code code = answer.code();
  promise(answer.ok() || code == Code::kCorrupt || code == Code::kUnsupported,
          "a damaged view fails with kCorrupt or kUnsupported");
  promise(answer.ok() || !answer.status().message().empty(), "a failure says why");
}

void ask_everything(View& view) {
  refuses_rightly(view.head());
  refuses_rightly(view.epochs());
  refuses_rightly(view.epoch(2));
  refuses_rightly(view.logs("", 100));
  refuses_rightly(view.log_by_name("log 7"));
  refuses_rightly(view.log_by_id(7));
  refuses_rightly(view.runs(7, 1, 100));
  refuses_rightly(view.run_at_time(7, 0));
  refuses_rightly(view.slots(0, 0, 100));
  refuses_rightly(view.objects(0, 0, 100));
  refuses_rightly(view.unused(0, 0, 100));
  refuses_rightly(view.dead(100, 100));
  refuses_rightly(view.runs_in({1, 1}, 0, 0, 100));
  refuses_rightly(view.logs_with_settings(0, 100));
  (void)view.note("fact");
}

}  // namespace

// The first byte: 1 puts the sums right. Then changes of five bytes each: where, and what.
void view(Bytes input) {
  static const Place place;
  static const std::string good = good_file(place);
  if (input.empty()) return;
  std::string file = good;
  for (size_t i = 1; i + 5 <= input.size(); i += 5) {
    ByteParser change(input.subspan(i, 5));
    const size_t at = change.fixed<uint32_t>() % file.size();
    file[at] = static_cast<char>(change.fixed<uint8_t>());
  }
  if ((static_cast<uint8_t>(input[0]) & 1) != 0) put_sums_right(file);
  place.empty();
  std::ofstream(place.path(), std::ios::binary) << file;
  auto opened = SqliteView::open(place.path());
  if (!opened) {
    promise(opened.code() == Code::kInvalid, "what cannot be opened is another program's");
    return;
  }
  ask_everything(**opened);
  promise((*opened)->reset().ok(), "whatever it was, it can be replaced");
  promise((*opened)->apply(some_rows()).ok(), "and filled again");
  const auto logs = (*opened)->logs("", 100);
  promise(logs.ok() && logs->size() == 40, "and read");
  promise((*opened)->close().ok(), "and closed");
}

}  // namespace wp::fuzz
