// Which properties the build shortens: names between our own classes, in no text and on no wire. The minifier renames them in
// the syntax tree, each everywhere, but not where they are spelled as texts. A name is ours by being listed here, or by being
// `handle…`. test/own_names.test.ts sees to it that none of them is somebody else's too.

const LISTED = `
  activate attach attempt awake bypass configuration consumed createPeer describe doubt elapsed endAs failed giveUp
  gone granted hasFailed hasJoined hasOpened isBinary isJoined isMissing isOver isReachable joinData joined keeper losses
  negotiation nextFrame notePath offered openForeignChannel openSocket outstanding packets progressTo pump refusal
  reliable report resync sendByServer sendCandidate sendDescription sendDroppable senders socketUrl sync syncStream take
  taken takesParts usesOldApi usesSdk wake
`
  .trim()
  .split(/\s+/);

export const OWN_NAMES = {
  include: new RegExp(`^(${LISTED.join("|")}|handle[A-Z]\\w*)$`),
  // The DOM has it, for objects that are listeners.
  exclude: /^handleEvent$/,
};
