/* PUTs arrive. Create-if-absent: what finds its place taken changes nothing. */

/* Each for ever again; where it is asked whether an opener ends, each once. */
#if PROGRESS
byte arrived[NONCES + 1];
#define may_arrive(n, bit)  !((arrived[n] >> (bit)) & 1)
#define has_arrived(n, bit) arrived[n] = arrived[n] | (1 << (bit))
#else
#define may_arrive(n, bit)  true
#define has_arrived(n, bit) skip
#endif

#define ARRIVE_FRAG(n, s) \
  :: d_step { s < sent[n] && may_arrive(n, s) && slot[place(folder(n), s)] == 0 -> \
       slot[place(folder(n), s)] = FRAG(n, s); \
       has_arrived(n, s); \
       printf("bucket: %d.%d lands\n", n, s + 1); \
       landed[n] = landed[n] | ((owns[n] && s >= acked[n]) << s) }
#define ARRIVE_ALT(n, s) \
  :: d_step { s < sent[n] && frag(n, s) == ALT(n, s) && slot[place(folder(n), s)] == 0 -> \
       slot[place(folder(n), s)] = ALT(n, s); \
       printf("bucket: %d.%d lands, as changed\n", n, s + 1); \
       landed[n] = landed[n] | ((owns[n] && s >= acked[n]) << s) }
#define ARRIVE_FENCE(n) \
  :: d_step { n < nonce_next && may_arrive(n, 7) && slot[place_of(FENCE(n))] == 0 -> \
       slot[place_of(FENCE(n))] = FENCE(n); \
       has_arrived(n, 7); \
       printf("bucket: fence %d lands\n", n); \
       landed[n] = landed[n] | (waits[n] << 7) }
#define ARRIVE_CHECKPOINT(b) \
  :: d_step { ((checkpoint_sent & ~checkpoints) >> (b)) & 1 -> \
       checkpoints = checkpoints | (1 << (b)); \
       checkpoint_count++; \
       printf("bucket: the checkpoint as of %d.%d lands\n", author(b), number(b)); \
       if \
       :: rank(b) > rank(newest) -> newest = b; follower_behind = FOLLOWER \
       :: else \
       fi }
#define CHECKPOINT_OF_FRAG(n, s)  ARRIVE_CHECKPOINT(FRAG(n, s))
#define CHECKPOINT_OF_FENCE(n)    ARRIVE_CHECKPOINT(FENCE(n))

proctype Network() {
  end: do
  EACH_FRAG(ARRIVE_FRAG)
#if BREAK == 9
  EACH_FRAG(ARRIVE_ALT)
#endif
  EACH_FENCE(ARRIVE_FENCE)
  EACH_FRAG(CHECKPOINT_OF_FRAG)
  EACH_FENCE(CHECKPOINT_OF_FENCE)
  od
}
