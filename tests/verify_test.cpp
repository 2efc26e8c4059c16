// What verify says of a root that was reclaimed: segments are looked at like slots, objects that
// are dead or forgotten are not missed, and all that the view says to be somewhere is there.
#include <doctest/doctest.h>

#include "tests/format_samples.h"
#include "tests/sim_store.h"
#include "tests/test_root.h"
#include "tests/view_rows.h"

namespace wp {
namespace {

using view_test::got;
using view_test::must;

// A root whose log has its first two of four fragments in a segment: one of these is dead, one
// forgotten.
struct Reclaimed {
  std::shared_ptr<MemoryBucket> bucket;
  std::shared_ptr<MemViewData> view = std::make_shared<MemViewData>();
  std::string segment, dead, forgotten, live;
};

Reclaimed make_reclaimed() {
  SimWorld world(1);
  Reclaimed made;
  made.bucket = world.bucket;
  {
    Site site = world.open("writer", {}, made.view);
    Log log = log_of(site, "a");
    for (const char* text : {"one", "two", "three", "four"}) append_text(log, text);
    require_ok(site->close());
  }
  MemView view(made.view);
  const auto root = decode_root(*made.bucket->get("root"));
  require_ok(root.status());
  const LogRow log = *got(view.log_by_name("a"));
  const auto runs = got(view.runs(log.id, 1, 2));
  REQUIRE(runs.size() == 2);
  BatchMaker maker(runs[0].time_first_ms, 100);
  maker.entry(log.id, 1, runs[0].time_first_ms, "one");
  maker.entry(log.id, 1, runs[1].time_last_ms, "two");
  const ByteVector segment = ChainMaker(*root).segment(maker, 0, 100, 0);
  const auto key = [&](Seq seq) { return slot_key({1, root->creator, seq}); };
  made.segment = key(kSegmentFirst);
  made.bucket->overwrite(made.segment, segment);
  made.dead = key(runs[0].seq);
  made.forgotten = key(runs[1].seq);
  made.live = key(got(view.runs(log.id, 3, 1)).front().seq);

  ViewDelta delta;
  RunRow run = runs[0];
  run.count = 2;
  run.bytes += runs[1].bytes;
  run.time_last_ms = runs[1].time_last_ms;
  run.seq = kSegmentFirst;
  delta.published = {run};
  delta.head = *got(view.head());
  SlotRow dead = got(view.slots(1, runs[0].seq, 1)).front();
  dead.dead = delta.head.slots;
  delta.slots = {dead, {1, kSegmentFirst, segment.size(), 2}};
  delta.forgotten = {{1, runs[1].seq}};
  must(view.apply(delta));
  return made;
}

struct Verified {
  Status status;
  VerifyProgress last;
  std::vector<Damage> damages;
};

// With that change of the bucket or the view.
Verified verify_with(const Reclaimed& made,
                     const std::function<void(MemoryBucket&, MemViewData&)>& change) {
  SimWorld world(1);
  world.bucket = made.bucket->copy();
  const auto data = made.view->copy();
  change(*world.bucket, *data);
  Verified out;
  Site site = world.open("verifier", {}, data);
  REQUIRE(site.ok());
  out.status = site->verify([&](const VerifyProgress& progress) {
    out.last = progress;
    if (progress.damage != nullptr) out.damages.push_back(*progress.damage);
  });
  (void)site->close();
  return out;
}

Verified without(const Reclaimed& made, const std::string& key) {
  return verify_with(made, [&](MemoryBucket& bucket, MemViewData&) { REQUIRE(bucket.erase(key)); });
}

}  // namespace

TEST_CASE("verify finds nothing wrong with what reclaiming leaves") {
  const Reclaimed made = make_reclaimed();
  const Verified whole = verify_with(made, [](MemoryBucket&, MemViewData&) {});
  require_ok(whole.status);
  CHECK(whole.last.objects_done == whole.last.objects_total);
  require_ok(without(made, made.dead).status);
  require_ok(without(made, made.forgotten).status);
  const Verified both = verify_with(made, [&](MemoryBucket& bucket, MemViewData&) {
    bucket.erase(made.dead);
    bucket.erase(made.forgotten);
  });
  require_ok(both.status);
  CHECK(both.last.objects_done == both.last.objects_total);
}

TEST_CASE("verify misses a segment, and a slot that is needed") {
  const Reclaimed made = make_reclaimed();
  for (const std::string& key : {made.segment, made.live}) {
    const Verified verified = without(made, key);
    CHECK_CODE(verified.status, Code::kCorrupt);
    REQUIRE(verified.damages.size() == 1);
    CHECK(verified.damages[0].object == key);
    CHECK(verified.damages[0].log == "a");
    CHECK(verified.damages[0].lsn_first == (key == made.segment ? 1 : 3));
    CHECK(verified.damages[0].lsn_last == (key == made.segment ? 2 : 3));
  }
}

TEST_CASE("verify finds each byte of a segment that is damaged, and a segment that is cut") {
  const Reclaimed made = make_reclaimed();
  const std::vector<std::byte> whole = *made.bucket->get(made.segment);
  for (size_t at = 0; at < 2 * whole.size(); ++at) {
    std::vector<std::byte> bytes = whole;
    if (at < whole.size()) {
      bytes[at] ^= static_cast<std::byte>(1 << at % 8);
    } else {
      bytes.resize(at - whole.size());
    }
    const Verified verified = verify_with(
        made, [&](MemoryBucket& bucket, MemViewData&) { bucket.overwrite(made.segment, bytes); });
    if (verified.status.code() == Code::kCorrupt && verified.damages.size() == 1 &&
        verified.damages[0].object == made.segment && verified.damages[0].lsn_last == 2) {
      continue;
    }
    FAIL_CHECK(at << ": " << verified.status.to_string());
  }
}

TEST_CASE("verify finds what the view says to be where it is not, and entries that are nowhere") {
  const Reclaimed made = make_reclaimed();
  const auto with_runs = [&](auto change) {
    return verify_with(made, [&](MemoryBucket&, MemViewData& data) {
      MutexLock lock(data.mutex);
      change(data.runs);
    });
  };
  const LogId log = got(MemView(made.view).log_by_name("a"))->id;
  const Verified elsewhere = with_runs([&](auto& runs) { runs[{log, 3}].seq = kSegmentFirst; });
  CHECK_CODE(elsewhere.status, Code::kCorrupt);
  REQUIRE(!elsewhere.damages.empty());
  CHECK(elsewhere.damages[0].object == made.segment);
  CHECK(elsewhere.damages[0].what.find("does not hold LSN 3 to 3") != std::string::npos);
  for (const Lsn lsn : {1, 3, 4}) {
    CAPTURE(lsn);
    const Verified nowhere = with_runs([&](auto& runs) { runs.erase({log, lsn}); });
    CHECK_CODE(nowhere.status, Code::kCorrupt);
    REQUIRE(nowhere.damages.size() == 1);
    CHECK(nowhere.damages[0].log == "a");
    CHECK(nowhere.damages[0].lsn_first == lsn);
    CHECK(nowhere.damages[0].lsn_last == (lsn == 1 ? 2 : lsn));
  }
}

TEST_CASE("verify finds a root object that is gone, damaged or another root's") {
  const Reclaimed made = make_reclaimed();
  const std::vector<std::byte> whole = *made.bucket->get("root");
  SimWorld other(7);
  require_ok(other.open("other").status);
  auto flipped = whole;
  flipped[flipped.size() / 2] ^= std::byte{1};
  for (const std::string how : {"gone", "damaged", "another root's"}) {
    CAPTURE(how);
    // It was whole when the root was opened.
    SimWorld world(1);
    world.bucket = made.bucket->copy();
    Site site = world.open("verifier", {}, made.view->copy());
    require_ok(site.status);
    if (how == "gone") {
      world.bucket->erase("root");
    } else {
      world.bucket->overwrite("root", how == "damaged" ? flipped : *other.bucket->get("root"));
    }
    std::vector<Damage> damages;
    const Status status = site->verify([&](const VerifyProgress& progress) {
      if (progress.damage != nullptr) damages.push_back(*progress.damage);
    });
    CHECK_CODE(status, Code::kCorrupt);
    REQUIRE_FALSE(damages.empty());
    CHECK(damages.front().object == "root");
    if (how != "damaged") CHECK(damages.front().what.find(how) != std::string::npos);
  }
}

TEST_CASE("verify finds a slot that does not follow, and a checkpoint in another's place") {
  const Reclaimed made = make_reclaimed();
  const std::string key = made.live, moved = "c/00000001-000000000000";
  const auto changed = verify_with(made, [&](MemoryBucket& bucket, MemViewData&) {
    auto bytes = *bucket.get(key);
    auto header = decode_header(bytes);
    require_ok(header.status());
    header->prev.digest[0] ^= std::byte{1};
    encode_header(*header, bytes.data());
    bucket.overwrite(key, bytes);
    for (const ListedObject& object : bucket.list("c/", "", 0).objects) {
      bucket.overwrite(moved, *bucket.get(object.key));
    }
  });
  CHECK_CODE(changed.status, Code::kCorrupt);
  const auto names = [&](std::string_view what) {
    return std::any_of(changed.damages.begin(), changed.damages.end(), [&](const Damage& damage) {
      return damage.what.find(what) != std::string::npos;
    });
  };
  CHECK(names("does not follow"));
  CHECK(names("belongs there"));
  CHECK(std::any_of(changed.damages.begin(), changed.damages.end(),
                    [&](const Damage& damage) { return damage.object == moved; }));
}

TEST_CASE("verify ends where the store refuses, and calls nothing damaged for that") {
  const Reclaimed made = make_reclaimed();
  for (const std::string prefix : {"root", "j/", "s/", "c"}) {
    CAPTURE(prefix);
    SimWorld world(1);
    world.bucket = made.bucket->copy();
    Site site = world.open("verifier", {}, made.view->copy());
    require_ok(site.status);
    bool refused = false;
    site.store->script = [&](const SimRequest& request) -> std::optional<SimFate> {
      if (request.cause != Cause::kVerify || !request.key.starts_with(prefix)) return std::nullopt;
      refused = true;
      return SimFate{false, Answer::kDenied, {}, true};
    };
    size_t damages = 0;
    const Status status = site->verify(
        [&](const VerifyProgress& progress) { damages += progress.damage != nullptr; });
    CHECK(refused);
    CHECK_CODE(status, Code::kDenied);
    CHECK(damages == 0);
  }
}

}  // namespace wp
