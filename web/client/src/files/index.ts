import type { CreatePeerFiles } from "../channels";
import { FileTransfers } from "./transfers";

export const createPeerFiles: CreatePeerFiles = (peer, channel, events) => new FileTransfers(peer, channel, events);
