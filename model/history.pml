/* The one history. It is nobody's knowledge: it judges what anybody is told.
 *
 * `told` is the latest body that somebody outside has relied on: an append that was acknowledged,
 * an opening that ended, an entry that a follower has shown. Each new one must lie on one chain
 * with all before it. From that follows
 *   - every later opening has every acknowledged entry: its fence, which is new, lies behind them;
 *   - no LSN is given twice and none is left out: it is the place on the chain;
 *   - who is fenced acknowledges nothing behind the fence: that would not be on the chain;
 *   - a reader sees a prefix of what all others see. */
byte told = ROOT;

inline tell(b) {
  find_on_chain(told, b);
  if
  :: found -> told = b
  :: else -> find_on_chain(b, told); assert(found)
  fi
}

/* Whoever opens needs all of the history that no checkpoint holds. */
inline check_needed_is_there() {
  look_at = told;
  do
  :: look_at == ROOT || look_at == newest || rank(look_at) <= rank(newest) -> break
  :: else -> assert(slot[place_of(look_at)] == look_at); look_at = prev(look_at)
  od
}
