// The properties that the build shortens: names that are only used between the client's own classes, not in texts or
// messages. The minifier renames each of them everywhere in the syntax tree, but not in strings. A name is shortened if
// it is listed here or begins with `handle`. test/own_names.test.ts checks that none of them is also a name of somebody
// else.

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
  // The DOM has this name, for objects that are listeners.
  exclude: /^handleEvent$/,
};
