"use client";

import { type ButtonHTMLAttributes, type DragEvent, type HTMLAttributes, type ImgHTMLAttributes, type ReactNode, useCallback, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { type PictureFile, placeholder, srcset } from "./image.js";
import type { Route, Uploads } from "./server.js";
import { createUploader, type UploaderOptions, type Uploader, type UploadFile, type UploadSnapshot } from "./upload.js";

type RoutesOf<U> = U extends Uploads<infer R> ? R : Record<string, Route>;
type NameOf<U> = keyof RoutesOf<U> & string;
type InputOf<U, N extends NameOf<U>> = RoutesOf<U>[N] extends Route<infer I, any> ? I : unknown;
type DataOf<U, N extends NameOf<U>> = RoutesOf<U>[N] extends Route<any, infer D> ? D : unknown;

/** The options of {@link useUpload}; those that are objects are taken from the first render. */
export type UseUploadOptions = Omit<UploaderOptions, "route">;

/** Files of an uploader, and what can be done with them. */
export interface UseUpload<I = unknown, D = unknown> extends UploadSnapshot<D> {
  /** Resolves when each of these files is done, failed or cancelled. */
  add(files: Iterable<File>, ...input: I extends undefined ? [] : unknown extends I ? [input?: I] : [input: I]): Promise<UploadFile<D>[]>;
  retry(id?: string): void;
  cancel(id?: string): void;
  clear(id?: string): void;
}

const NOTHING: UploadSnapshot<any> = { files: [], progress: 0, state: "idle" };

/**
 * Uploads through a route of an upload handler. Pass the handler's type and the route's name, so that `input` and `data`
 * have theirs: `useUpload<typeof uploads, "avatar">("avatar")`. Uploads go on when the component is unmounted.
 */
export function useUpload<U extends Uploads<any> = Uploads, N extends NameOf<U> = NameOf<U>>(
  route: N,
  options: UseUploadOptions = { endpoint: "/api/upload" },
): UseUpload<InputOf<U, N>, DataOf<U, N>> {
  const latest = useRef(options);
  latest.current = options;
  const { endpoint } = options;
  const uploader = useMemo(() => createUploader({ ...latest.current, endpoint, route }), [endpoint, route]);
  const snapshot = useSyncExternalStore(uploader.subscribe, uploader.snapshot, () => NOTHING);
  const { add, retry, cancel, clear } = uploader as Uploader<any, any>;
  return useMemo(() => ({ ...snapshot, add, retry, cancel, clear }), [snapshot, add, retry, cancel, clear]) as any;
}

/** {@link useUpload} for one upload handler: the type of each route follows from its name. */
export function createUploadHook<U extends Uploads<any>>(options: UseUploadOptions = { endpoint: "/api/upload" }) {
  return <N extends NameOf<U>>(route: N) => useUpload<U, N>(route, options);
}

/** What the two components need of {@link UseUpload}. */
interface Target {
  state: string;
  add(files: Iterable<File>, input?: any): Promise<unknown>;
}

interface Picking {
  upload: Target;
  /** What the route's `input` takes. */
  input?: unknown;
  accept?: string | undefined;
  multiple?: boolean | undefined;
  disabled?: boolean | undefined;
}

function useInput({ upload, input, accept, multiple, disabled }: Picking) {
  const element = useRef<HTMLInputElement>(null);
  const node = (
    <input
      ref={element}
      type="file"
      hidden
      accept={accept}
      multiple={multiple}
      disabled={disabled}
      onChange={(event) => {
        if (event.target.files?.length) void upload.add([...event.target.files], input);
        // The same file can be chosen again.
        event.target.value = "";
      }}
    />
  );
  return [node, useCallback(() => element.current?.click(), [])] as const;
}

/** A button that opens the file dialog. `data-state` is the uploader's state. */
export function UploadButton({ upload, input, accept, multiple, disabled, children, onClick, ...rest }: Picking & ButtonHTMLAttributes<HTMLButtonElement>) {
  const [node, open] = useInput({ upload, input, accept, multiple, disabled });
  return (
    <>
      {node}
      <button
        type="button"
        {...rest}
        disabled={disabled}
        data-state={upload.state}
        onClick={(event) => {
          onClick?.(event);
          if (!event.defaultPrevented) open();
        }}
      >
        {children ?? "Choose files"}
      </button>
    </>
  );
}

/** An area that takes dropped files, and opens the file dialog by click or keyboard. While files are over it, `data-over` is there. */
export function Dropzone({ upload, input, accept, multiple, disabled, children, ...rest }: Picking & { children?: ReactNode } & HTMLAttributes<HTMLDivElement>) {
  const [node, open] = useInput({ upload, input, accept, multiple, disabled });
  const [over, setOver] = useState(false);
  const drag = (inside: boolean) => (event: DragEvent) => {
    if (disabled) return;
    event.preventDefault();
    setOver(inside);
  };
  return (
    <>
      {node}
      <div
        role="button"
        tabIndex={disabled ? -1 : 0}
        aria-disabled={disabled}
        {...rest}
        data-state={upload.state}
        data-over={over || undefined}
        onClick={() => disabled || open()}
        onKeyDown={(event) => {
          if (event.target !== event.currentTarget || (event.key !== "Enter" && event.key !== " ")) return;
          event.preventDefault();
          if (!disabled) open();
        }}
        onDragEnter={drag(true)}
        onDragOver={drag(true)}
        onDragLeave={drag(false)}
        onDrop={(event) => {
          drag(false)(event);
          const files = [...event.dataTransfer.files];
          if (!disabled && files.length) void upload.add(multiple ? files : files.slice(0, 1), input);
        }}
      >
        {children ?? "Drop files here, or choose"}
      </div>
    </>
  );
}

/** An `<img>` of a listed file: every width, its size, and a placeholder until it is there. */
export function Picture({ file, style, ...rest }: { file: PictureFile; alt: string } & Omit<ImgHTMLAttributes<HTMLImageElement>, "src" | "srcSet">) {
  const set = srcset(file);
  const preview = useMemo(() => placeholder(file.thumbhash), [file.thumbhash]);
  const [loaded, setLoaded] = useState<string>();
  return (
    <img
      width={file.width}
      height={file.height}
      loading="lazy"
      decoding="async"
      {...rest}
      // The widest variant is for browsers without `srcset`, and for pictures without variants the original.
      src={file.variants?.at(-1)?.url ?? file.url}
      {...(set ? { srcSet: set } : {})}
      data-state={loaded === set ? "loaded" : "loading"}
      style={preview && loaded !== set ? { backgroundImage: `url(${preview})`, backgroundSize: "cover", ...style } : style}
      onLoad={(event) => {
        setLoaded(set);
        rest.onLoad?.(event);
      }}
    />
  );
}
