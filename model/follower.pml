/* A follower: a reader in another process. It walks as an opener does and writes nothing.
 *
 * Its clock is two bits. follower_behind: a newer checkpoint was stored since it last knew its
 * ground: it stood at the tail, or had a LIST. follower_slept: something was reclaimed while it was
 * behind. As reclaiming waits for the grace after its checkpoint, more than half the grace has then
 * passed since that moment, and it must LIST. Reads on the way do not count: its clock starts where
 * a walk has reached the tail. */
bit follower_behind, follower_slept;

#define next_to_read slot[place_after(head)]
#define moved_past(b) (rank(newest) > rank(b) || (rank(newest) == rank(b) && newest != b))

#if BREAK == 13
bit slept_at_start; /* it looks at its clock only now and then: when a walk begins */
#define has_slept slept_at_start
#else
#define has_slept follower_slept
#endif

inline list_checkpoints() {
  if
  :: moved_past(head) ->
     head = newest;
     printf("follower: goes on from the checkpoint as of %d.%d\n", author(head), number(head));
     tell(head)
  :: else
  fi;
  follower_behind = 0;
  follower_slept = 0
}

proctype Follower() {
  byte head;

  d_step { head = newest; follower_behind = 0; follower_slept = 0 };

  end: do
  :: atomic {
       next_to_read != 0 && prev(next_to_read) == head ->
       head = next_to_read;
       printf("follower: reads %d.%d\n", author(head), number(head));
       if
       :: is_frag(head) -> d_step { tell(head) }
       :: else ->
#if BREAK == 11
          skip
#elif BREAK == 14
          follower_slept = 1 /* one LIST for all, at the end of the walk */
#else
          goto at_fence
#endif
       fi
     }
  :: next_to_read != 0 && prev(next_to_read) != head -> goto misfit
  :: atomic { next_to_read == 0 && has_slept -> goto slept }
  :: d_step {
       next_to_read == 0 && !has_slept ->
       /* It says that this is the tail: then nobody was told of anything behind it. */
       printf("follower: stands at the tail, behind %d.%d\n", author(head), number(head));
       find_on_chain(told, head);
       assert(found);
       follower_behind = 0;
       follower_slept = 0
     }
#if BREAK == 13
  :: slept_at_start = follower_slept
#endif
  od;

at_fence:
  atomic { d_step { list_checkpoints(); tell(head) }; goto end };

slept:
  atomic { d_step { list_checkpoints() }; goto end };

misfit:
  atomic {
    d_step {
      assert(moved_past(head)); /* else it is damage */
      list_checkpoints()
    };
    goto end
  }
}
