// Readers while what they read is moved into segments, dropped and reclaimed under them.
#include <doctest/doctest.h>

#include "engine/format.h"
#include "tests/test_root.h"

namespace wp {
namespace {

Options small_options(Duration grace) {
  Options options;
  options.fragment_bytes_max = 4u << 10;
  options.block_bytes = 1u << 10;
  options.ram_bytes_max = 1u << 20;
  options.entry_bytes_max = 4u << 10;
  options.reclaim_grace = grace;
  options.compact_share = 0;  // only gc() does anything
  return options;
}

Options follower_options(Duration grace) {
  Options options = small_options(grace);
  options.read_only = true;
  return options;
}

void append_some(Site& site, size_t count) {
  Log log = log_of(site, "a");
  for (size_t i = 0; i < count; ++i) append_text(log, "entry");
}

// Everything before it is deleted, and the checkpoints that knew it too.
void reclaim_all(Site& site) {
  for (int i = 0; i < 3; ++i) {
    append_some(site, 1);
    require_ok(site->gc(false).status());
  }
}

// Where that slot was: what an opener leaves that had slept since it found the slot absent.
void leave_fence(MemoryBucket& bucket, const SlotHeader& gone) {
  SlotHeader fence;
  fence.kind = SlotKind::kFence;
  fence.root = gone.root;
  fence.slot = gone.slot;
  fence.prev = gone.prev;
  fence.author = 77;
  ByteVector bytes(kSlotHeaderBytes);
  encode_header(fence, bytes.data());
  bucket.overwrite(slot_key(gone.slot), bytes);
}

}  // namespace

TEST_CASE("a reader that knows the next fragments finds what a segment took over meanwhile") {
  SimWorld world(1);
  Site site = world.open("owner", small_options(Duration{3'600'000}));
  append_some(site, 150);  // more fragments than a reader looks up at once
  auto reader = log_of(site, "a").read();
  require_ok(reader.status());
  for (Lsn lsn = 1; lsn <= 150; ++lsn) {
    const auto next = reader->next();
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->lsn == lsn);
    if (lsn == 5) require_ok(site->gc(false).status());
  }
}

TEST_CASE("a reader goes on where a late fence lies in the place of what a segment took over") {
  SimWorld world(6);
  Site site = world.open("owner", small_options(Duration{0}));
  append_some(site, 150);
  auto reader = log_of(site, "a").read();
  require_ok(reader.status());
  for (Lsn lsn = 1; lsn <= 5; ++lsn) CHECK((*reader->next())->lsn == lsn);
  const auto before = world.bucket->copy();
  reclaim_all(site);
  size_t fences = 0;
  for (const ListedObject& object : before->list("j/", "", 0).objects) {
    if (world.bucket->get(object.key) != nullptr) continue;
    const auto gone = decode_header(*before->get(object.key));
    require_ok(gone.status());
    leave_fence(*world.bucket, *gone);
    ++fences;
  }
  CHECK(fences > 100);
  for (Lsn lsn = 6; lsn <= 150; ++lsn) {
    const auto next = reader->next();
    require_ok(next.status());
    REQUIRE(next->has_value());
    CHECK((*next)->lsn == lsn);
  }
  CHECK(site->info().view_error.empty());
}

TEST_CASE("a follower that reads a log that is dropped and reclaimed is told that it was dropped") {
  SimWorld world(2);
  Site site = world.open("owner", small_options(Duration{0}));
  append_some(site, 20);
  Site follower = world.open("follower", follower_options(Duration{0}));
  require_ok(follower.status);
  auto reader = follower->find("a")->read();
  require_ok(reader.status());
  require_ok(reader->next().status());
  require_ok(site->drop("a"));
  Log other = log_of(site, "b");
  for (int i = 0; i < 3; ++i) {
    append_text(other, "entry");
    require_ok(site->gc(false).status());
  }
  Status status;
  for (int i = 0; i < 20 && status.ok(); ++i) status = reader->next().status();
  CHECK_CODE(status, Code::kDropped);
}

TEST_CASE("a follower looks again when a checkpoint goes between its name and its bytes") {
  SimWorld world(3);
  Site site = world.open("owner", small_options(Duration{0}));
  append_some(site, 3);
  bool armed = false;
  Site follower =
      world.open("follower", follower_options(Duration{0}), nullptr, [&](SimStore& store) {
        store.before = [&](const SimRequest& request) {
          if (!armed || !request.get("c/")) return;
          armed = false;
          reclaim_all(site);
        };
      });
  require_ok(follower.status);
  append_some(site, 20);
  reclaim_all(site);
  world.sim.run_for(Duration{3'600'000});  // so that it looks for checkpoints
  armed = true;
  const auto log = follower->find("a");
  require_ok(log.status());
  CHECK_FALSE(armed);
  CHECK(log->info().lsn_durable == 29);
}

TEST_CASE("verify passes over a late fence where a slot was deleted and is not yet forgotten") {
  SimWorld world(5);
  const auto disk = std::make_shared<MemViewData>();
  Site site = world.open("owner", small_options(Duration{0}), disk);
  append_some(site, 10);
  Log log = log_of(site, "a");
  require_ok(log.truncate(9));
  const auto before = world.bucket->copy();
  site.store->after = [&](const SimRequest& request) {
    if (request.operation == Operation::kDelete && request.key.starts_with("j/")) {
      site.machine->kill();
    }
  };
  world.sim.spawn(site.machine, "gc", [&] { (void)site->gc(false); });
  world.sim.run_actors();
  REQUIRE(site.machine->killed());
  const auto gone = decode_header(*before->get(before->list("j/", "", 0).objects[5].key));
  require_ok(gone.status());
  const std::string key = slot_key(gone->slot);
  REQUIRE(world.bucket->get(key) == nullptr);
  leave_fence(*world.bucket, *gone);
  Site next = world.open("next", small_options(Duration{0}), disk);
  require_ok(next.status);
  require_ok(next->verify({}));
}

TEST_CASE("a leftover fence on reclaimed ground does not lead a follower astray") {
  SimWorld world(4);
  Site site = world.open("owner", small_options(Duration{0}));
  append_some(site, 3);
  Site follower = world.open("follower", follower_options(Duration{0}));
  require_ok(follower.status);
  CHECK(follower->find("a")->info().lsn_durable == 3);
  // What an opener would put behind the last slot that the follower knows.
  const std::string last = world.bucket->list("j/", "", 0).objects.back().key;
  const Body body = world.bucket->get(last);
  const auto header = decode_header(*body);
  require_ok(header.status());
  SlotHeader fence;
  fence.kind = SlotKind::kFence;
  fence.root = header->root;
  fence.slot = header->next();
  fence.prev = {header->slot, header_digest(*header, *body)};
  fence.author = 77;
  ByteVector bytes(kSlotHeaderBytes);
  encode_header(fence, bytes.data());
  // It comes when the ground is gone, and stands on nothing.
  append_some(site, 3);
  reclaim_all(site);
  REQUIRE(world.bucket->get(slot_key(fence.slot)) == nullptr);
  world.bucket->overwrite(slot_key(fence.slot), bytes);
  const auto log = follower->find("a");
  require_ok(log.status());
  CHECK(log->info().lsn_durable == 9);
  CHECK(read_entries(*log).size() == 9);
}

}  // namespace wp
