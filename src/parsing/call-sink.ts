/** Where readers of calls put what they find. */
export interface CallSink {
  /** A call with this name begins; the one before is over. */
  begin(name: string): void;
  /** More of the arguments' JSON. */
  arguments(text: string): void;
  /** The call's markup is whole: without arguments they are `{}`. */
  complete(): void;
}
