/* A process that opens for write, owns an epoch, stops or crashes, and opens again. Every wait is
 * endless if the schedule says so: a paused machine, a closed laptop, a slow answer. It may crash
 * wherever it waits. */

#if BREAK == 2
#define ground_moved(seen, n) false
#elif BREAK == 3
#define ground_moved(seen, n) (checkpoint_count > seen && rank(newest) >= rank(FENCE(n)))
#else
#define ground_moved(seen, n) (checkpoint_count > seen)
#endif

#if BREAK == 10
#define prefers_view(v) (v != 0)
#else
#define prefers_view(v) (v != 0 && rank(v) > rank(newest))
#endif

#if PROGRESS
bit opened; /* writer 1 has come to own an epoch */
#endif

#if VIEWS
byte view[WRITERS]; /* the SQLite file of each, as of that body. 0: it has none */
#endif

inline forget_nonce() { /* nonce 0 is nobody's */
  waits[n] = 0;
  owns[n] = 0;
  landed[n] = 0;
  acked[n] = 0;
  n = 0
}

/* A process that crashed knows nothing, and may start anew. */
#if PROGRESS
#define CRASH atomic { me == 0 -> d_step { start_anew() }; goto end_step3 }
#else
#define CRASH atomic { d_step { start_anew() }; goto end_step3 }
#endif
inline start_anew() {
  printf("writer %d: crashes\n", me);
  forget_nonce();
  head = 0;
  seen = 0
}

#define acked_body (FENCE(n) + acked[n])
#define next_slot  slot[place_after(head)]

#define has_landed(s)  ((landed[n] >> (s)) & 1)
#define my_slot(s)     slot[place(folder(n), s)]
#define anothers_at(s) (s < sent[n] && my_slot(s) != 0 && (my_slot(s) & 31) != FRAG(n, s))

inline acknowledge() {
  printf("writer %d: acknowledges %d.%d\n", me, n, acked[n] + 1);
  tell(frag(n, acked[n]));
  landed[n] = landed[n] & ~(1 << acked[n]);
  acked[n]++
}

proctype Writer(byte me) {
  byte n = 0;    /* the nonce of the fence that it waits for, or of the epoch that it owns */
  byte head = 0; /* the last body that the walk applied */
  byte seen = 0; /* how many checkpoints step 3 has seen */

  if
  :: me == 0 -> d_step { n = 1; owns[1] = 1 }; goto own /* the creator of root */
  :: else
  fi;

end_step3: /* also where nobody has opened */
  if
  :: atomic {
       d_step {
         nonce_next <= NONCES && (!PROGRESS || me != 0) ->
         seen = checkpoint_count;
         head = newest;
         printf("writer %d: step 3, starts at %d.%d\n", me, author(head), number(head))
       };
#if VIEWS
       if
       :: prefers_view(view[me]) ->
          head = view[me];
          printf("writer %d: starts at its view, %d.%d\n", me, author(head), number(head));
          goto check_view
#if BREAK == 15
       :: view[me] != 0 && !prefers_view(view[me]) && slot[place_of(view[me])] != 0 &&
          slot[place_of(view[me])] != view[me] -> assert(false) /* kRolledBack */
#endif
       :: else ->
          d_step {
            if
            :: view[me] != 0 -> find_on_chain(view[me], newest); assert(found) /* kRolledBack */
            :: else
            fi
          }
       fi;
#endif
       goto walk
     }
  fi;

#if VIEWS
check_view:
  if
  :: slot[place_of(head)] == head -> goto walk
  :: slot[place_of(head)] != head ->
#if BREAK == 12
     assert(false) /* kRolledBack */
#else
     if
     :: checkpoint_count > seen -> goto end_step3 /* it was reclaimed meanwhile */
#if BREAK != 10
     :: else -> assert(false) /* kRolledBack */
#else
     :: else -> goto walk
#endif
     fi
#endif
  :: CRASH
  fi;
#endif

walk: /* step 4 */
  if
  :: atomic { next_slot != 0 && prev(next_slot) == head ->
       head = next_slot;
       printf("writer %d: walks over %d.%d\n", me, author(head), number(head));
       goto walk
     }
  :: next_slot != 0 && prev(next_slot) != head -> goto misfit
  :: atomic {
       next_slot == 0 && nonce_next <= NONCES ->
       d_step {
         n = nonce_next;
         nonce_next++;
         fence_prev[n] = head;
         epoch[n] = epoch[author(head)] + 1;
         waits[n] = 1;
         printf("writer %d: step 5, sends fence %d behind %d.%d\n", me, n, author(head),
                number(head))
       };
       goto step5
     }
  :: CRASH
  fi;

misfit:
  if
  :: checkpoint_count > seen -> goto end_step3
  :: else -> assert(false) /* damage */
  fi;

step5: /* the fence is sent */
  if
#if PROGRESS
  :: d_step { next_slot == 0 -> next_slot = FENCE(n); landed[n] = 128 }
#endif
  :: (landed[n] >> 7) & 1 -> goto step6
  :: next_slot != 0 && next_slot != FENCE(n) -> goto exists
  :: CRASH
  fi;

exists: /* reads what is there */
  if
  :: next_slot == FENCE(n) -> goto step6
  :: atomic { next_slot == 0 -> d_step { forget_nonce() }; goto end_step3 }
  :: atomic {
       next_slot != 0 && next_slot != FENCE(n) && prev(next_slot) == head ->
       d_step { forget_nonce(); head = next_slot };
       printf("writer %d: finds %d.%d there\n", me, author(head), number(head));
       goto walk
     }
  :: atomic {
       next_slot != 0 && next_slot != FENCE(n) && prev(next_slot) != head ->
       d_step { forget_nonce() };
       goto misfit
     }
  :: CRASH
  fi;

step6:
  if
  :: atomic {
       ground_moved(seen, n) ->
       printf("writer %d: step 6, the ground has moved\n", me);
       d_step { forget_nonce() };
       goto end_step3
     }
  :: atomic {
       !ground_moved(seen, n) ->
       d_step {
         printf("writer %d: owns the epoch of fence %d\n", me, n);
         tell(FENCE(n));
#if PROGRESS
         opened = opened || me == 1;
#endif
         waits[n] = 0;
         landed[n] = 0;
         owns[n] = 1;
         head = 0;
         seen = 0
       };
       goto own
     }
  :: CRASH
  fi;

own:
  do
  :: CRASH
  :: d_step { sent[n] < SLOTS && sent[n] - acked[n] < PUTS_IN_FLIGHT && close_at[n] == NOT_CLOSED ->
       printf("writer %d: sends %d.%d\n", me, n, sent[n] + 1);
       sent[n]++ }
  :: d_step { acked[n] < sent[n] && has_landed(acked[n]) -> acknowledge() }
#if BREAK == 8
  :: d_step { anothers_at(acked[n]) -> acknowledge() }
#else
  :: atomic { anothers_at(acked[n]) -> d_step { forget_nonce() }; goto end_step3 } /* kFenced */
#endif
#if BREAK == 7
  :: d_step { acked[n] + 1 < sent[n] && has_landed(acked[n] + 1) ->
       printf("writer %d: acknowledges %d.%d\n", me, n, acked[n] + 2);
       tell(frag(n, acked[n] + 1)) }
#elif BREAK == 9
  :: d_step { acked[n] < sent[n] && !has_landed(acked[n]) ->
       printf("writer %d: sends %d.%d again, changed\n", me, n, acked[n] + 1);
       resent[n] = resent[n] | (1 << acked[n]) }
#endif
  :: d_step { checkpoints_left > 0 && !((checkpoint_sent >> acked_body) & 1) ->
       checkpoints_left--;
       send_checkpoint(acked_body) }
#if BREAK == 6
  :: d_step { checkpoints_left > 0 && acked[n] < sent[n] ->
       checkpoints_left--;
       send_checkpoint(frag(n, sent[n] - 1)) }
#endif
#if VIEWS
  :: d_step { view[me] != acked_body ->
       printf("writer %d: its view is at %d.%d\n", me, author(acked_body), number(acked_body));
       view[me] = acked_body }
#endif
  /* A clean close: everything is acknowledged, and the last slot says that nothing follows. */
  :: d_step { CLOSES && acked[n] == sent[n] && sent[n] < SLOTS && close_at[n] == NOT_CLOSED ->
       printf("writer %d: sends its clean close, %d.%d\n", me, n, sent[n] + 1);
       close_at[n] = sent[n];
       sent[n]++ }
  od
}
