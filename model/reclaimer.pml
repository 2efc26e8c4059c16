/* Reclaiming. A DELETE too may be late, so it is not tied to the life of the owner that sent it:
 * what a stored checkpoint allows may happen at any time after, in any order, again and again.
 *
 * To give it the most to do, every entry counts as truncated by the slot that holds it. */

#if BREAK == 5
#define reclaim_upto newest_sent
#else
#define reclaim_upto newest
#endif

/* A fence behind which its old owner may still have something under way stays for ever. */
#define fence_seq(fence)  number(prev(fence))
#if BREAK == 1
#define fence_may_go(fence) true
#else
#define fence_may_go(fence) \
  (fence_seq(fence) > 0 && close_at[author(prev(fence))] == fence_seq(fence) - 1)
#endif

/* found: the name (folder f, slot s) may be deleted. */
inline may_delete(f, s) {
  found = false;
  met = false;
  look_at = reclaim_upto;
  do
  :: look_at == ROOT -> break
  :: else ->
     if /* what lies at this place of the chain */
     :: folder(author(prev(look_at))) == f ->
        met = true;
        if
        :: s < number(prev(look_at)) -> look_at = prev(look_at)
        :: s == number(prev(look_at)) -> found = is_frag(look_at) || fence_may_go(look_at); break
        /* Behind a fence: never part of the log. Behind the checkpoint: not yet. */
        :: s > number(prev(look_at)) -> found = !is_frag(look_at); break
        fi
     :: else -> look_at = prev(look_at)
     fi
  od;
  /* A folder that the chain does not know is a leftover fence's, if its epoch is not ahead. */
  if
  :: !met && folder_epoch(f) <= rank_epoch(reclaim_upto) -> found = true
  :: else
  fi
}

#define DELETE(f, s) \
  :: d_step { reclaim_upto != ROOT && slot[place(f, s)] != 0 -> \
       may_delete(f, s); \
       if \
       :: found -> \
          look_at = slot[place(f, s)]; \
          printf("bucket: %d.%d is deleted\n", author(look_at), number(look_at)); \
          slot[place(f, s)] = 0; \
          follower_slept = follower_slept | follower_behind; \
          check_needed_is_there() \
       :: else \
       fi }

proctype Reclaimer() {
  end: do
  EACH_PLACE(DELETE)
  od
}
