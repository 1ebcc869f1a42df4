import type { Address } from '../address.ts';
import type { BaseServer } from './base-server.ts';

/**
 * Handles one request of a server that was made with its class: `new TCPServer(MyHandler)`. One is made for
 * each request, so that its fields are the request's own.
 *
 * Called in order: setup(), handle(), finish(), each awaited. Finish is called whenever setup() has
 * succeeded, also when handle() throws. Then the request is shut down.
 */
export abstract class BaseRequestHandler<Request = unknown, Client extends Address = Address> {
  /** The connection, or the datagram. */
  readonly request: Request;
  /** Where it came from. */
  readonly clientAddress: Client;
  /** The server that has it. A class for one kind of server says so: `declare readonly server: MyServer`. */
  readonly server: BaseServer;

  constructor(request: Request, clientAddress: Client, server: BaseServer) {
    this.request = request;
    this.clientAddress = clientAddress;
    this.server = server;
  }

  /** Prepares. To be overridden: does nothing. */
  setup(): void | Promise<void> {}

  /** Serves the request. */
  abstract handle(): void | Promise<void>;

  /** Cleans up. To be overridden: does nothing. */
  finish(): void | Promise<void> {}
}

/** A class of request handlers. */
export type RequestHandlerClass<Request, Client extends Address = Address> = new (
  request: Request,
  clientAddress: Client,
  server: BaseServer,
) => BaseRequestHandler<Request, Client>;

/** Serves one request. */
export type RequestFunction<Request, Client extends Address = Address> = (
  request: Request,
  clientAddress: Client,
) => void | Promise<void>;

/** What serves the requests of `server`: `handler`, or one of that class for each. */
export function requestFunction<Request, Client extends Address>(
  handler: RequestFunction<Request, Client> | RequestHandlerClass<Request, Client>,
  server: BaseServer,
): RequestFunction<Request, Client> {
  if (!isHandlerClass(handler)) return handler;
  return (request, clientAddress) => run(new handler(request, clientAddress, server));
}

/** A function that is called to serve has no handlers for its instances. */
function isHandlerClass<Request, Client extends Address>(
  handler: RequestFunction<Request, Client> | RequestHandlerClass<Request, Client>,
): handler is RequestHandlerClass<Request, Client> {
  return handler.prototype instanceof BaseRequestHandler;
}

async function run(handler: BaseRequestHandler): Promise<void> {
  await handler.setup();
  try {
    await handler.handle();
  } finally {
    await handler.finish();
  }
}
