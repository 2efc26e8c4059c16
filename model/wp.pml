/* The protocol of wp as a model for spin: who may write the journal, what counts as stored, what
 * may be deleted. model/run.sh checks it, docs/MODEL.md says what came out.
 *
 * The size of a run, all by -D:
 *   NONCES          fences that may be put, and one for the creator of `root`
 *   SLOTS           slots that an owner writes in its epoch, at most 3
 *   WRITERS         processes that open for write; the first has just created `root`
 *   CHECKPOINTS     checkpoints put by all of them together
 *   PUTS_IN_FLIGHT  slots of an owner under way at once
 *   CLOSES, VIEWS, FOLLOWER   1: owners may close cleanly; keep a view; a follower reads
 *   BREAK           0: the rules as they are; else the one that is broken */
#ifndef BREAK
#define BREAK 0
#endif
#ifndef NONCES
#define NONCES 3
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 1
#endif
#ifndef PUTS_IN_FLIGHT
#define PUTS_IN_FLIGHT 2
#endif
#ifndef CLOSES
#define CLOSES 1
#endif
#ifndef VIEWS
#define VIEWS 0
#endif
#ifndef PROGRESS
#define PROGRESS 0
#endif
#ifndef FOLLOWER
#define FOLLOWER 0
#endif

#define PLACES ((NONCES + 1) * 4)

byte checkpoints_left = CHECKPOINTS;

#include "each.pml"
#include "objects.pml"
#include "history.pml"
#include "follower.pml"

inline send_checkpoint(b) {
  printf("writer %d: sends the checkpoint as of %d.%d\n", me, author(b), number(b));
  checkpoint_sent = checkpoint_sent | (1 << (b));
  if
  :: rank(b) > rank(newest_sent) -> newest_sent = b
  :: else
  fi
}

#include "network.pml"
#include "reclaimer.pml"
#include "writer.pml"

init {
  d_step {
    look_at = 1;
    do
    :: look_at <= NONCES -> close_at[look_at] = NOT_CLOSED; look_at++
    :: else -> break
    od;
    epoch[1] = 1
  };
  atomic {
    run Network();
    run Reclaimer();
    run Writer(0);
    run Writer(1);
#if WRITERS > 2
    run Writer(2);
#endif
#if FOLLOWER
    run Follower();
#endif
  }
}

#if PROGRESS
ltl an_undisturbed_opener_ends { <> opened }
#endif
