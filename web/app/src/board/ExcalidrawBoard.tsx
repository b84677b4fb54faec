// Excalidraw, connected to the room. Loaded lazily by `Board`; nothing else imports it.

import "./asset_path";
import "@excalidraw/excalidraw/index.css";
import { Excalidraw } from "@excalidraw/excalidraw";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import type { Peer } from "bimcc-rtc";
import { useEffect, useRef, useState } from "react";
import { conceal, expose as exposeToPage } from "../debug";
import { BoardMenu, BoardWelcome } from "./BoardMenu";
import { IMAGE_TYPES } from "./board_file";
import type { BoardProps } from "./board_props";
import { ExcalidrawScene, type Part } from "./excalidraw_scene";
import { Intake } from "./intake";
import { nameForReaders } from "./names_for_readers";
import { PartNote } from "./PartNote";
import { BoardSession } from "./session";
import { sha256 } from "./sha256";
import { remeasureTexts } from "./text_measures";
import { openWayIn, takeToBoard } from "./way_in";

/** In milliseconds. It is short, because others ask for an image as soon as they see it on the board. */
const ADOPT_INTERVAL = 150;

const UI_OPTIONS = {
  canvasActions: {
    changeViewBackgroundColor: false,
    loadScene: false,
    saveToActiveFile: false,
    toggleTheme: false,
    export: { saveFileToDisk: true },
  },
};

function contentIdOf(file: File): Promise<string> {
  return file.arrayBuffer().then((buffer) => sha256(new Uint8Array(buffer)));
}

export default function ExcalidrawBoard({ room, theme, readOnly = false, onProblem, onOtherFiles }: BoardProps) {
  const [api, setApi] = useState<ExcalidrawImperativeAPI>();
  // Excalidraw sets its own first scene some time after it has provided its API.
  const [isReady, setReady] = useState(false);
  const [isLoading, setLoading] = useState(false);
  const [part, setPart] = useState<Part>();
  const session = useRef<BoardSession>(undefined);
  const shownScene = useRef<ExcalidrawScene>(undefined);
  const filePicker = useRef<HTMLInputElement>(null);
  const tell = useRef(onProblem);
  tell.current = onProblem;
  const handOn = useRef(onOtherFiles);
  handOn.current = onOtherFiles;

  useEffect(() => {
    if (!api || !isReady) return;
    const scene = new ExcalidrawScene(api, room, setPart);
    shownScene.current = scene;
    const problems: string[] = [];
    const onProblem = (peer: Peer | undefined, reason: string) => {
      problems.splice(0, problems.length - 99);
      problems.push(`${peer?.id ?? "user"}: ${reason}`);
      tell.current?.(peer, reason);
    };
    const started = new BoardSession({ room, scene, onProblem });
    session.current = started;
    const images = setInterval(() => {
      void scene.adoptImages(started.images);
      setLoading(started.loading);
    }, ADOPT_INTERVAL);
    const intake = new Intake({
      api,
      scene,
      isKnown: (id) => started.mayKnow(id),
      onOther: (files) => handOn.current?.(files),
      onProblem: (sentence) => tell.current?.(undefined, sentence),
    });
    const closeWayIn = openWayIn((files, at) => void intake.take(files, at));
    const measures = { api, isOwn: (id: string) => started.isOwn(id), held: () => scene.held() };
    const endMeasuring = remeasureTexts(measures);
    const withdraw = expose(api, started, problems);
    return () => {
      endMeasuring();
      closeWayIn();
      clearInterval(images);
      started.end();
      shownScene.current = undefined;
      setPart(undefined);
      session.current = undefined;
      withdraw();
    };
  }, [api, isReady, room]);

  useEffect(() => nameForReaders(), []);

  return (
    <>
      <Excalidraw
        excalidrawAPI={setApi}
        onChange={() => {
          setReady(true);
          session.current?.handleSceneChange();
        }}
        onPointerUpdate={({ pointer, button }) => {
          const selected = Object.keys(api?.getAppState().selectedElementIds ?? {});
          session.current?.handlePointer({ ...pointer, button, selected: selected.slice(0, 50) });
        }}
        theme={theme}
        viewModeEnabled={readOnly}
        isCollaborating
        name={room.room}
        langCode="en"
        UIOptions={UI_OPTIONS}
        aiEnabled={false}
        validateEmbeddable={false}
        renderEmbeddable={() => null}
        generateIdForFile={contentIdOf}
      >
        <BoardMenu readOnly={readOnly} onOpen={() => filePicker.current?.click()} />
        <BoardWelcome />
      </Excalidraw>
      <input
        ref={filePicker}
        type="file"
        hidden
        aria-label="Drawing to add"
        multiple
        accept={[".excalidraw", ".json", ...IMAGE_TYPES].join()}
        onChange={(event) => {
          takeToBoard([...(event.target.files ?? [])]);
          event.target.value = "";
        }}
      />
      {part ? (
        <PartNote
          part={part}
          onNext={() => shownScene.current?.showPart(part.number + 1)}
          onClose={() => setPart(undefined)}
        />
      ) : null}
      {isLoading ? (
        <p className="whiteboard-state" role="status">
          Fetching the board…
        </p>
      ) : null}
    </>
  );
}

/** Makes the board accessible to the console and to tests. */
function expose(api: ExcalidrawImperativeAPI, session: BoardSession, problems: string[]): () => void {
  const board = {
    elements: () => JSON.parse(JSON.stringify(api.getSceneElements())),
    merged: () => session.elements(),
    files: () => Object.keys(api.getFiles()),
    loading: () => session.loading,
    settled: () => session.settled,
    problems: () => [...problems],
    api,
  };
  exposeToPage({ board });
  return () => conceal("board");
}
